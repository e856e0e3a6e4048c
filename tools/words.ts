/**
 * `deno task words`: where in src, sim and the documents words still stand that are not used here.
 *
 * @module
 */
import process from "node:process";
import { SCOPES, WORDS, wordsOf } from "../test/support/words.ts";

const found = wordsOf(SCOPES);
for (const { place, word, but } of found) process.stdout.write(`${place}: "${word}", here: ${but}\n`);
process.stdout.write(`${found.length} places, ${WORDS.length} rules\n`);
process.exitCode = found.length > 0 ? 1 : 0;
