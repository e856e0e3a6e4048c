/**
 * The generated parts of the documents: what stands between `<!-- NAME: … -->` and `<!-- /NAME -->`. One way to write
 * them for all: those made of the sources are held against them by a test and written by `deno task docs`, those that
 * are measured are written by what measures them.
 *
 * @module
 */
import { spawnSync } from "node:child_process";
import { readFileSync, writeFileSync } from "node:fs";
import process, { execPath } from "node:process";
import { fileURLToPath } from "node:url";
import { deepEqual } from "@std/assert";

const pathOf = (document: string) => fileURLToPath(new URL(`../../${document}`, import.meta.url));

/** The text between the marks, and the whole text with another one there. */
interface Place {
  readonly text: string;
  with(markdown: string): string;
}

/** @throws when the document has no such part */
function place(document: string, name: string): Place {
  const all = readFileSync(pathOf(document), "utf8");
  const marks = new RegExp(`(<!-- ${name}:[^\\n]*-->\\n)([^]*?)(<!-- /${name} -->)`);
  const found = marks.exec(all);
  if (found === null) throw new Error(`${document} has no part <!-- ${name}: … --> … <!-- /${name} -->`);
  return {
    text: found[2]!,
    with: (markdown) => all.replace(marks, (_all, start, _old, end) => `${start}\n${markdown.trim()}\n\n${end}`),
  };
}

/** The text of one part of a document. */
export function readSection(document: string, name: string): string {
  return place(document, name).text;
}

/** Replaces one part of a document, and formats it. */
export function writeSection(document: string, name: string, markdown: string): void {
  writeFileSync(pathOf(document), place(document, name).with(markdown));
  spawnSync(execPath, ["fmt", "--quiet", pathOf(document)]);
}

/** Asserts that a part says what the sources say, formatting apart; `UPDATE_GOLDEN=1` writes it. */
export function goldenSection(document: string, name: string, markdown: string): void {
  if (process.env.UPDATE_GOLDEN === "1") writeSection(document, name, markdown);
  const bare = (text: string) => text.trim().replace(/-{3,}/g, "---").replace(/ +/g, " ").split(/\n+/);
  deepEqual(bare(readSection(document, name)), bare(markdown), `${document} is out of date: run deno task docs`);
}

/** The keys of the table in docs/troubleshooting.md about the one object that this command prints with `--json`. */
export function documentedKeys(command: string): readonly string[] {
  const docs = readFileSync(new URL("../../docs/troubleshooting.md", import.meta.url), "utf8");
  const [, rest = ""] = docs.split(`\`${command} --json\` prints one object`);
  const table = rest.split("\n\n")[1] ?? "";
  return [...table.matchAll(/^\| `(\w+)` +\|/gm)].map((found) => found[1]!);
}
