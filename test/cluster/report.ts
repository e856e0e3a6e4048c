/**
 * What a run on a cluster ends with: the table of situations, and with all versions the one in docs/install.md.
 *
 * @module
 */
import { readFileSync, writeFileSync } from "node:fs";
import { fileURLToPath } from "node:url";
import { versionsFor } from "../support/cluster/versions.ts";

const DOCUMENT = fileURLToPath(new URL("../../docs/install.md", import.meta.url));
const BEGIN = "<!-- versions: written by `deno task test:cluster --all` -->";
const END = "<!-- /versions -->";

export interface Row {
  readonly name: string;
  readonly passed: boolean;
  readonly ms: number;
}

/** What was played with one version. */
export interface VersionResult {
  readonly version: string;
  readonly rows: readonly Row[];
  /** Situations that this version's kubelet cannot do by default. */
  readonly impossible: readonly string[];
}

/** Prints one line a situation: what became of it, how long it took, and what it is. */
export function printTable({ version, rows }: VersionResult, print: (line: string) => void): void {
  print(`\nKubernetes ${version}: ${passedOf(rows)} of ${rows.length} situations`);
  for (const { name, passed, ms } of rows) {
    print(`  ${passed ? "ok    " : "FAILED"} ${(ms / 1e3).toFixed(1).padStart(5)} s  ${name}`);
  }
}

/** Writes the versions' table of docs/install.md. */
export function writeVersions(results: readonly VersionResult[]): void {
  const lines = results.toSorted((a, b) => a.version.localeCompare(b.version)).map((result) => {
    const { version, rows, impossible } = result;
    const control = versionsFor(version).controlPlane;
    return `| ${version} | ${control} | ${passedOf(rows)} of ${rows.length} | ${impossible.join("; ") || "nothing"} |`;
  });
  const table = [
    "| kubelet | control plane | situations passed | what this kubelet cannot do by default |",
    "| --- | --- | --- | --- |",
    ...lines,
  ];
  const text = readFileSync(DOCUMENT, "utf8");
  const [from, to] = [text.indexOf(BEGIN), text.indexOf(END)];
  if (from < 0 || to < 0) throw new Error(`${DOCUMENT} has no place for the versions' table`);
  writeFileSync(DOCUMENT, `${text.slice(0, from + BEGIN.length)}\n\n${table.join("\n")}\n\n${text.slice(to)}`);
}

function passedOf(rows: readonly Row[]): number {
  return rows.filter(({ passed }) => passed).length;
}
