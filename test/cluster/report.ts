/**
 * The table that a run on a cluster ends with.
 *
 * @module
 */
export interface Row {
  readonly name: string;
  readonly passed: boolean;
  readonly ms: number;
}

/** Prints one line a situation: what became of it, how long it took, and what it is. */
export function printTable(title: string, rows: readonly Row[], print: (line: string) => void): void {
  print(`\n${title}: ${rows.filter(({ passed }) => passed).length} of ${rows.length} situations`);
  for (const { name, passed, ms } of rows) {
    print(`  ${passed ? "ok    " : "FAILED"} ${(ms / 1e3).toFixed(1).padStart(5)} s  ${name}`);
  }
}
