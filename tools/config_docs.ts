/**
 * Writes schema/config.schema.json and the reference in docs/configuration.md from the schema in src/config/.
 * With --check it writes nothing, and exits 1 when one of the two is not up to date.
 *
 *     deno run --allow-read --allow-write tools/config_docs.ts [--check]
 *
 * @module
 */
import { readFileSync, writeFileSync } from "node:fs";
import { relative } from "node:path";
import process from "node:process";
import { fileURLToPath } from "node:url";
import { jsonSchema, withReference } from "../src/config/reference.ts";

/** A generated file, as it is and as it should be. */
export interface Generated {
  readonly path: string;
  readonly is: string;
  readonly should: string;
}

/** Both files. One that is missing is empty. */
export function generated(): readonly Generated[] {
  const schema = fileURLToPath(new URL("../schema/config.schema.json", import.meta.url));
  const docs = fileURLToPath(new URL("../docs/configuration.md", import.meta.url));
  const text = readFileSync(docs, "utf8");
  return [
    { path: schema, is: read(schema), should: jsonSchema() },
    { path: docs, is: text, should: withReference(text) },
  ];
}

function read(path: string): string {
  try {
    return readFileSync(path, "utf8");
  } catch (error) {
    if (error instanceof Error && "code" in error && error.code === "ENOENT") return "";
    throw error;
  }
}

if (import.meta.main) {
  const check = process.argv.includes("--check");
  const stale = generated().filter(({ is, should }) => is !== should);
  for (const { path, should } of stale) {
    const name = relative(process.cwd(), path);
    if (!check) writeFileSync(path, should);
    process.stderr.write(check ? `${name} is not up to date: run tools/config_docs.ts\n` : `wrote ${name}\n`);
  }
  process.exitCode = check && stale.length > 0 ? 1 : 0;
}
