/**
 * The program and nothing else: what a bundle starts from, on Deno and on Node.js, which has no `import.meta.main`
 * before version 24.
 *
 * @module
 */
import process from "node:process";
import { main } from "./cli/main.ts";

process.exit(await main(process.argv.slice(2)));
