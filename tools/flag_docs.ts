/**
 * Writes the flag table of README from the table in src/cli/flags.ts. With `--check` it writes nothing and ends with
 * status 1 when README is out of date.
 *
 * @module
 */
import { readFileSync, writeFileSync } from "node:fs";
import process from "node:process";
import { flagTable } from "../src/cli/flags.ts";

const README = new URL("../README.md", import.meta.url);
const SECTION = /(<!-- flags:[^\n]*-->\n)[^]*?(<!-- \/flags -->)/;

/** README as it should be. */
export function withFlags(readme: string): string {
  if (!SECTION.test(readme)) {
    throw new Error("README.md has no place for the flags: <!-- flags: … --> … <!-- /flags -->");
  }
  return readme.replace(SECTION, (_whole, start, end) => `${start}\n${flagTable()}\n\n${end}`);
}

/** Whether two texts differ in words; the formatter aligns tables, so their spaces say nothing. */
export function sameWords(a: string, b: string): boolean {
  const words = (text: string) => text.replace(/[ |-]+/g, " ");
  return words(a) === words(b);
}

if (import.meta.main) {
  const now = readFileSync(README, "utf8");
  const wanted = withFlags(now);
  if (process.argv.includes("--check")) {
    if (!sameWords(now, wanted)) {
      process.stderr.write("README.md's flags are out of date; run deno task docs\n");
      process.exit(1);
    }
  } else writeFileSync(README, wanted);
}
