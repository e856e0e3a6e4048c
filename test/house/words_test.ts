import { deepEqual } from "@std/assert";
import { SCOPES, wordsIn, wordsOf } from "../support/words.ts";

Deno.test("the words that are not used here stand nowhere", () => {
  deepEqual(wordsOf(SCOPES).map(({ place, word, but }) => `${place}: "${word}", here: ${but}`), []);
});

Deno.test("wordsIn() knows a name from plain English, and leaves out what is generated", () => {
  const words = (text: string, file: string) => wordsIn(text, file).map(({ word }) => word);
  deepEqual(words("const ledger = new Looks();", "src/a.ts"), ["Looks", "ledger"]);
  deepEqual(words("the file is moved into place", "src/a.ts"), []);
  deepEqual(words("snapshot.moved", "src/a.ts"), [".moved"]);
  deepEqual(words("nobody is told", "docs/a.md"), ["told", "nobody"]);
  deepEqual(words("<!-- flags: x -->\nnobody\n<!-- /flags -->\nanew", "docs/a.md"), ["anew"]);
});
