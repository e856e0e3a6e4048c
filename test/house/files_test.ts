import { deepEqual, ok } from "@std/assert";
import { readFileSync } from "node:fs";
import { files } from "./rooms.ts";

const MOST_LINES = 400;

const lengths = files().map((file) => ({
  file,
  lines: readFileSync(new URL(`../../${file}`, import.meta.url), "utf8").split("\n").length - 1,
}));

Deno.test("a file is one idea: none is too long, and most are short", () => {
  deepEqual(lengths.filter(({ lines }) => lines > MOST_LINES), []);
  const sorted = lengths.map(({ lines }) => lines).toSorted((a, b) => a - b);
  const median = sorted[Math.floor(sorted.length / 2)]!;
  ok(median >= 60 && median <= 120, `the median file has ${median} lines`);
});
