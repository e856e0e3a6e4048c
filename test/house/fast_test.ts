import { deepEqual } from "@std/assert";
import { readFileSync } from "node:fs";
import config from "../../deno.json" with { type: "json" };
import { files } from "./rooms.ts";

/** What starts the program, or a server for it: tests with these are in test/e2e or in the folder of what they are about. */
const SLOW = /\bPluginProcess\b|support\/plugin\.ts|support\/report_rig\.ts|sim\/api_server\//;

Deno.test("no test in a folder of test:fast starts a plugin or an API server", () => {
  const folders = config.tasks["test:fast"].command.match(/\btest\/\w+/g)!;
  const there = files().filter((file) => folders.some((folder) => file.startsWith(`${folder}/`)));
  const text = (file: string) => readFileSync(new URL(`../../${file}`, import.meta.url), "utf8");
  deepEqual(there.filter((file) => file !== "test/house/fast_test.ts" && SLOW.test(text(file))), []);
});
