import { equal, ok } from "@std/assert";
import { readFileSync, writeFileSync } from "node:fs";
import process from "node:process";
import { formatMistakes, parseConfig } from "../../src/config/mod.ts";
import { MALFORMED } from "../support/malformed.ts";

const GOLDEN = new URL("golden/mistakes.txt", import.meta.url);

/** What is said about every malformed file, each under its heading. */
function said(): string {
  return MALFORMED.map(({ about, file, text }) => {
    const result = parseConfig(text, file);
    return `# ${about}\n${result.ok ? "NO MISTAKE FOUND" : formatMistakes(result.mistakes)}\n`;
  }).join("\n");
}

Deno.test("parseConfig() says exactly what the golden file says about each malformed config", () => {
  // UPDATE_GOLDEN=1 writes the file anew; read the difference before you keep it.
  if (process.env.UPDATE_GOLDEN === "1") writeFileSync(GOLDEN, said());
  equal(said(), readFileSync(GOLDEN, "utf8"));
});

Deno.test("parseConfig() refuses every malformed config", () => {
  for (const { about, file, text } of MALFORMED) equal(parseConfig(text, file).ok, false, about);
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
