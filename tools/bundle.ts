/**
 * `deno task bundle [--code-cache] [DIRECTORY [INTERPRETER]]`: writes the bundle and its permission sets, by default
 * into dist/. With `--code-cache` also what V8 compiles of it at a start, for the Deno that runs this and the flags that
 * the image has.
 *
 * @module
 */
import { statSync } from "node:fs";
import { join } from "node:path";
import process from "node:process";
import { fileURLToPath } from "node:url";
import { parseArgs } from "node:util";
import { bundle, CODE_CACHE, PROGRAM } from "../test/support/bundle.ts";

const { values, positionals } = parseArgs({
  options: { "code-cache": { type: "boolean", default: false } },
  allowPositionals: true,
});
const [directory = fileURLToPath(new URL("../dist", import.meta.url)), interpreter = null] = positionals;
const output = await bundle(directory, interpreter);
process.stdout.write(`${output}: ${(statSync(join(directory, PROGRAM)).size / 1024).toFixed(0)} KiB\n`);
if (values["code-cache"]) {
  await (await import("../test/support/code_cache.ts")).writeCodeCache(directory);
  process.stdout.write(`${CODE_CACHE}: ${(statSync(join(directory, CODE_CACHE)).size / 1024).toFixed(0)} KiB\n`);
}
