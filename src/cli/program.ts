/**
 * The program and nothing else: what a bundle starts from, on Deno and on Node.js, which has no `import.meta.main`
 * before version 24.
 *
 * @module
 */
import process from "node:process";
import { main } from "./main.ts";

// Without a top-level await, which CommonJS has not.
void main(process.argv.slice(2)).then((status) => process.exit(status));
