import { deepEqual, equal, ok } from "@std/assert";
import { readdirSync, readFileSync } from "node:fs";
import { parse } from "yaml";
import * as z from "zod";
import { generated } from "../../tools/config_docs.ts";
import { parseConfig } from "../../src/config/mod.ts";
import { jsonSchema, MARKERS, withReference } from "../../src/config/reference.ts";
import { MALFORMED } from "./malformed.ts";

const EXAMPLES = new URL("../../examples/config/", import.meta.url);
const DOCS = new URL("../../docs/configuration.md", import.meta.url);

/** The committed JSON Schema as a checker: true for what it accepts. */
function accepts(): (value: unknown) => boolean {
  const schema = z.fromJSONSchema(JSON.parse(jsonSchema()));
  return (value) => schema.safeParse(value).success;
}

Deno.test("schema/config.schema.json and docs/configuration.md are as tools/config_docs.ts writes them", () => {
  for (const { path, is, should } of generated()) {
    equal(is, should, `${path} is not up to date: run tools/config_docs.ts`);
  }
});

Deno.test("withReference() replaces what stands between the markers and nothing else", () => {
  const once = withReference(`before\n${MARKERS[0]}\nSTALE\n${MARKERS[1]}\nafter\n`);
  ok(once.startsWith("before\n") && once.endsWith("after\n") && !once.includes("STALE"));
  equal(withReference(once), once);
});

Deno.test("the reference has a row with a meaning for every key of the format", () => {
  const rows = withReference(MARKERS.join("\n")).split("\n").filter((line) => line.startsWith("| `"));
  ok(rows.length > 50);
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
  ok(own.length >= 5);
  for (const name of own) equal(accepted(parse(readFileSync(new URL(name, EXAMPLES), "utf8"))), true, name);
});

Deno.test("the JSON Schema refuses every malformed config whose mistake it can see", () => {
  const accepted = accepts();
  const shaped = MALFORMED.filter((one) => one.shape === true);
  ok(shaped.length >= 20);
  deepEqual(shaped.filter(({ text }) => accepted(parse(text))).map((one) => one.about), []);
});

Deno.test("parseConfig() takes every YAML example of docs/configuration.md", () => {
  const blocks = [...readFileSync(DOCS, "utf8").matchAll(/^```yaml\n([^]*?)^```$/gm)].map((match) => match[1]!);
  ok(blocks.length >= 4);
  for (const block of blocks) {
    const result = parseConfig(block, "block.yaml");
    equal(result.ok, true, block + JSON.stringify(result));
  }
});
