import { deepEqual } from "@std/assert";
import { readFileSync } from "node:fs";
import { arrows } from "./rooms.ts";

Deno.test("the image's build context has every file that the bundler is made of", () => {
  const ignore = readFileSync(new URL("../../.dockerignore", import.meta.url), "utf8");
  const taken = ignore.split("\n").filter((line) => line.startsWith("!")).map((line) => line.slice(1));
  const all = arrows();
  const needed = new Set(["tools/bundle.ts", "src/cli/program.ts"]);
  // A Set grows while it is walked.
  for (const file of needed) for (const { from, to } of all) if (from === file) needed.add(to);
  deepEqual([...needed].filter((file) => !taken.some((one) => file === one || file.startsWith(`${one}/`))), []);
});
