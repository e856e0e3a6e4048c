/**
 * The image's figures as a table in docs/images.md.
 *
 * @module
 */
import { readFileSync, type writeFileSync } from "node:fs";

/** What one run measured; memory in MiB, sizes in MB (10^6 bytes), as registries say it. */
export interface Figures {
  readonly architecture: string;
  readonly sizeMb: number;
  readonly compressedMb: number;
  readonly startMs: number;
  readonly idle: { readonly rss: number; readonly anonymous: number };
  readonly busy: { readonly rss: number; readonly anonymous: number };
}

const DOCUMENT = new URL("../../docs/images.md", import.meta.url);
const SECTION = /(<!-- figures:[^\n]*-->\n)([^]*?)(<!-- \/figures -->)/;
const HEAD =
  "| architecture | size, MB | compressed, MB | started and registered, s | memory idle, MiB | after 1,000 " +
  "Allocates, MiB |\n| --- | --- | --- | --- | --- | --- |";

/** One row of the table. */
export function figuresRow({ architecture, sizeMb, compressedMb, startMs, idle, busy }: Figures): string {
  const memory = (one: Figures["idle"]) => `${one.rss.toFixed(0)} (${one.anonymous.toFixed(0)} anonymous)`;
  const emulated = architecture === "amd64" ? "" : " (emulated)";
  return `| ${architecture}${emulated} | ${sizeMb.toFixed(0)} | ${compressedMb.toFixed(0)} | ` +
    `${(startMs / 1e3).toFixed(1)} | ${memory(idle)} | ${memory(busy)} |`;
}

/** Replaces the rows of the architectures that were measured; the others stay. */
export function writeFigures(rows: readonly Figures[], write: typeof writeFileSync): void {
  const text = readFileSync(DOCUMENT, "utf8");
  const section = SECTION.exec(text);
  if (section === null) {
    throw new Error("docs/images.md has no place for the figures: <!-- figures: … --> … <!-- /figures -->");
  }
  const known = new Map<string, string>();
  for (const line of (section[2] ?? "").split("\n")) {
    const name = /^\| (amd64|arm64|ppc64le)\b/.exec(line)?.[1];
    if (name !== undefined) known.set(name, line);
  }
  for (const row of rows) known.set(row.architecture, figuresRow(row));
  const lines = [...known].toSorted(([a], [b]) => a.localeCompare(b)).map(([, line]) => line);
  write(
    DOCUMENT,
    text.replace(SECTION, (_all, start, _old, end) => `${start}\n${HEAD}\n${lines.join("\n")}\n\n${end}`),
  );
}
