/**
 * The measured parts of docs/performance.md.
 *
 * @module
 */
import { spawnSync } from "node:child_process";
import { readFileSync, writeFileSync } from "node:fs";
import { execPath } from "node:process";
import { fileURLToPath } from "node:url";

const DOCUMENT = fileURLToPath(new URL("../docs/performance.md", import.meta.url));

/**
 * Replaces what stands between `<!-- NAME: … -->` and `<!-- /NAME -->`.
 * @throws when the document has no such place
 */
export function writeSection(name: string, markdown: string): void {
  const text = readFileSync(DOCUMENT, "utf8");
  const place = new RegExp(`(<!-- ${name}:[^\\n]*-->\\n)[^]*?(<!-- /${name} -->)`);
  if (!place.test(text)) {
    throw new Error(`docs/performance.md has no place for it: <!-- ${name}: … --> … <!-- /${name} -->`);
  }
  writeFileSync(DOCUMENT, text.replace(place, (_all, start, end) => `${start}\n${markdown}\n${end}`));
  spawnSync(execPath, ["fmt", "--quiet", DOCUMENT]);
}
