/**
 * What each of V8's flags buys and costs, side by side in one run:
 *
 *     deno task bench:flags [--runs 3] [--write]
 *
 * The first line is what the image uses; times are ratios to it as well, because only those are worth anything on a
 * machine that does other things.
 *
 * @module
 */
import { mkdtempSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import process from "node:process";
import { parseArgs } from "node:util";
import { bundle } from "../test/support/bundle.ts";
import { writeSection } from "../test/support/section.ts";
import { aligned, type Figure, Figures, number, summarize } from "./figure.ts";
import { bestClient } from "./kubelet.ts";
import { type Effort, serving } from "./serving.ts";
import { plugin, type Subject, V8_FLAGS } from "../test/support/subject.ts";

const SETS = [
  V8_FLAGS,
  "",
  "--max-semi-space-size=1",
  "--max-semi-space-size=1,--heap-growing-percent=10",
  "--max-semi-space-size=4,--heap-growing-percent=10,--no-maglev",
  "--max-semi-space-size=1,--no-maglev",
  "--max-semi-space-size=1,--optimize-for-size",
  "--max-semi-space-size=1,--heap-growing-percent=10,--no-maglev,--single-threaded-gc",
  "--lite-mode",
] as const;

const EFFORT: Effort = { starts: 3, warmUp: 1_000, turns: 6, calls: 1_000, restarts: 1, restSeconds: 1 };

const COLUMNS = [
  ["start", "start, ms"],
  ["allocate.1.p50", "p50, µs"],
  ["allocate.1.p99", "p99, µs"],
  ["memory.idle.anonymous", "idle, MiB"],
  ["memory.allocates.anonymous", "after 10,000, MiB"],
] as const;

function rows(figures: readonly Figure[]): readonly (readonly string[])[] {
  const median = (of: string, id: string) => summarize(figures.find((one) => one.of === of && one.id === id)!).median;
  return [
    ["V8's flags", ...COLUMNS.map(([, title]) => title), "p50, ratio", "p99, ratio"],
    ...SETS.map((flags) => [
      flags === "" ? "(none)" : flags.replaceAll(",", " "),
      ...COLUMNS.map(([id]) => number(median(flags, id))),
      ...["allocate.1.p50", "allocate.1.p99"].map((id) => (median(flags, id) / median(V8_FLAGS, id)).toFixed(2)),
    ]),
  ];
}

async function main(): Promise<void> {
  const { values } = parseArgs({
    options: { runs: { type: "string", default: "3" }, write: { type: "boolean", default: false } },
  });
  const dir = mkdtempSync(join(tmpdir(), "rdma-bench-"));
  try {
    const bundled = await bundle(dir);
    const client = await bestClient();
    const subjects = SETS.map((flags): Subject => ({ ...plugin(bundled, flags), name: flags }));
    const figures = new Figures();
    for (let run = 0; run < Number(values.runs); run++) {
      process.stderr.write(`run ${run + 1} of ${values.runs}\n`);
      await serving([...subjects.slice(run), ...subjects.slice(0, run)], client, EFFORT, figures);
    }
    const lines = rows(figures.all);
    process.stdout.write(aligned(lines));
    const line = (cells: readonly string[]) => `| ${cells.join(" | ")} |\n`;
    const [head = [], ...rest] = lines;
    const rule = line(head.map((_, column) => column === 0 ? "---" : "---:"));
    if (values.write) writeSection("docs/performance.md", "flags", [line(head), rule, ...rest.map(line)].join(""));
  } finally {
    rmSync(dir, { recursive: true, force: true });
  }
}

if (import.meta.main) {
  await main();
  process.exit(0);
}
