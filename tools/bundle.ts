/**
 * `deno task bundle [DIRECTORY [INTERPRETER]]`: writes the bundle and its permission sets, by default into dist/.
 *
 * @module
 */
import { statSync } from "node:fs";
import { join } from "node:path";
import process from "node:process";
import { fileURLToPath } from "node:url";
import { bundle, PROGRAM } from "../test/support/bundle.ts";

const [directory = fileURLToPath(new URL("../dist", import.meta.url)), interpreter = null] = process.argv.slice(2);
const output = await bundle(directory, interpreter);
process.stdout.write(`${output}: ${(statSync(join(directory, PROGRAM)).size / 1024).toFixed(0)} KiB\n`);
