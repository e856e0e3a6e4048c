import { equal, ok } from "@std/assert";
import { formatMistakes, parseConfig } from "../../src/config/mod.ts";
import { goldenFile } from "../support/golden.ts";
import { MALFORMED, WARNED } from "../support/malformed.ts";

/** What is said about every file, each under its heading; of the malformed ones first. */
function said(): string {
  return [...MALFORMED, ...WARNED].map(({ about, file, text }) => {
    const result = parseConfig(text, file);
    return `# ${about}\n${formatMistakes(result.ok ? result.config.warnings : result.mistakes)}\n`;
  }).join("\n");
}

Deno.test("parseConfig() says exactly what the golden file says about each malformed config", () => {
  // The one test that knows the sentences.
  goldenFile("test/config/golden/mistakes.txt", said());
});

Deno.test("parseConfig() refuses every malformed config, and warns of the others", () => {
  for (const { about, file, text } of MALFORMED) equal(parseConfig(text, file).ok, false, about);
  for (const { about, file, text } of WARNED) {
    const result = parseConfig(text, file);
    ok(result.ok && result.config.warnings.length > 0, about);
  }
  equal(new Set(MALFORMED.map((one) => one.about)).size, MALFORMED.length);
});

Deno.test("parseConfig() gives every mistake a position inside the file", () => {
  for (const { about, file, text } of MALFORMED) {
    const result = parseConfig(text, file);
    const mistakes = result.ok ? [] : result.mistakes;
    ok(mistakes.length > 0, about);
    const lines = text.split("\n");
    for (const { line, column } of mistakes) {
      ok(line >= 1 && line <= lines.length, `${about}: line ${line}`);
      ok(column >= 1 && column <= lines[line - 1]!.length + 1, `${about}: column ${column} of line ${line}`);
    }
  }
});
