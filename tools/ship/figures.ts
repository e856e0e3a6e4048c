/**
 * The image's figures as a table in docs/images.md.
 *
 * @module
 */
import { readSection, writeSection } from "../../test/support/section.ts";

/** What one run measured; memory in MiB, sizes in MB (10^6 bytes), as registries say it. */
export interface Figures {
  readonly architecture: string;
  readonly sizeMb: number;
  readonly compressedMb: number;
  readonly startMs: number;
  readonly idle: { readonly rss: number; readonly anonymous: number };
  readonly busy: { readonly rss: number; readonly anonymous: number };
}

const DOCUMENT = "docs/images.md";
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
export function writeFigures(rows: readonly Figures[]): void {
  const known = new Map<string, string>();
  for (const line of readSection(DOCUMENT, "figures").split("\n")) {
    const name = /^\| (amd64|arm64|ppc64le)\b/.exec(line)?.[1];
    if (name !== undefined) known.set(name, line);
  }
  for (const row of rows) known.set(row.architecture, figuresRow(row));
  const lines = [...known].toSorted(([a], [b]) => a.localeCompare(b)).map(([, line]) => line);
  writeSection(DOCUMENT, "figures", `${HEAD}\n${lines.join("\n")}`);
}
