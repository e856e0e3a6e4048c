import { deepEqual, equal, ok } from "@std/assert";
import { readdirSync, readFileSync } from "node:fs";
import { parse } from "yaml";
import * as z from "zod";
import { parseConfig } from "../../src/config/mod.ts";
import { jsonSchema, referenceTables } from "../../src/config/reference.ts";
import { MALFORMED } from "../support/malformed.ts";

const EXAMPLES = new URL("../../examples/config/", import.meta.url);
const DOCS = new URL("../../docs/configuration.md", import.meta.url);

/** The committed JSON Schema as a checker: true for what it accepts. */
function accepts(): (value: unknown) => boolean {
  const schema = z.fromJSONSchema(JSON.parse(jsonSchema()));
  return (value) => schema.safeParse(value).success;
}

Deno.test("the reference has a row with a meaning for every key of the format", () => {
  const rows = referenceTables().split("\n").filter((line) => line.startsWith("| `"));
  for (const row of rows) {
    const cells = row.split(/ (?<!\\)\| /);
    equal(cells.length, 4, row);
    ok(/\.\s*\|$/.test(row), `a meaning is missing or ends without a full stop: ${row}`);
    ok(!/Invalid|undefined/.test(row), row);
  }
});

Deno.test("the JSON Schema accepts every example in our own format", () => {
  const accepted = accepts();
  const own = readdirSync(EXAMPLES).filter((name) => name.endsWith(".yaml"));
  for (const name of own) equal(accepted(parse(readFileSync(new URL(name, EXAMPLES), "utf8"))), true, name);
});

Deno.test("the JSON Schema refuses every malformed config whose mistake it can see", () => {
  const accepted = accepts();
  const shaped = MALFORMED.filter((one) => one.shape === true);
  deepEqual(shaped.filter(({ text }) => accepted(parse(text))).map((one) => one.about), []);
});

Deno.test("parseConfig() takes every YAML example of docs/configuration.md", () => {
  const blocks = [...readFileSync(DOCS, "utf8").matchAll(/^```yaml\n([^]*?)^```$/gm)].map((match) => match[1]!);
  for (const block of blocks) {
    const result = parseConfig(block, "block.yaml");
    equal(result.ok, true, block + JSON.stringify(result));
  }
});
