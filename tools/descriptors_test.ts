import { equal, ok } from "@std/assert";
import { readFileSync } from "node:fs";
import { descriptors } from "./descriptors.ts";

Deno.test("the descriptors in src/gen/ are those of proto/", () => {
  const all = descriptors();
  ok(all.has("deviceplugin.json"), [...all.keys()].join());
  for (const [file, text] of all) {
    equal(readFileSync(new URL(`../src/gen/${file}`, import.meta.url), "utf8"), text, "run deno task proto");
  }
});
