/**
 * The entry point of bundles, on Deno and on Node.js, which has no `import.meta.main` before version 24.
 *
 * @module
 */
import process from "node:process";
import { main } from "./main.ts";

// Without top-level await, which CommonJS does not support.
void main(process.argv.slice(2)).then((status) => process.exit(status));
