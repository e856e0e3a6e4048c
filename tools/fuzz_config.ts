/**
 * Mutates good config files and parses what comes out: no crash, no hang, no mistake that people cannot read.
 *
 *     deno run -A tools/fuzz_config.ts [--runs 100000] [--seed N] [--slowest 5000]
 *
 * Exits 1 with the shrunk text of the first that fails; a parse that takes longer than --slowest milliseconds fails.
 *
 * @module
 */
import * as fc from "fast-check";
import { performance } from "node:perf_hooks";
import process from "node:process";
import { parseArgs } from "node:util";
import { checkCandidate, mutatedConfigs } from "../test/support/mutated_config.ts";

const { values } = parseArgs({
  options: {
    runs: { type: "string", default: "100000" },
    seed: { type: "string", default: String(Date.now() % 2 ** 31) },
    slowest: { type: "string", default: "5000" },
  },
});
const runs = Number(values.runs);
const limit = Number(values.slowest);
let done = 0;
let accepted = 0;
let slowest = 0;
const started = performance.now();

const report = fc.check(
  fc.property(mutatedConfigs(), (candidate) => {
    const before = performance.now();
    if (checkCandidate(candidate)) accepted++;
    const took = performance.now() - before;
    slowest = Math.max(slowest, took);
    if (took > limit) throw new Error(`took ${took.toFixed(0)} ms`);
    if (++done % 10_000 === 0) process.stderr.write(`${done} of ${runs}\n`);
  }),
  { numRuns: runs, seed: Number(values.seed) },
);
const seconds = (performance.now() - started) / 1_000;
process.stdout.write(
  `${done} runs in ${seconds.toFixed(1)} s, ${(done / seconds).toFixed(0)} a second; ${accepted} accepted, the rest ` +
    `refused; the slowest took ${slowest.toFixed(0)} ms; seed ${values.seed}\n`,
);
if (report.failed) {
  process.stdout.write(`${fc.defaultReportMessage(report)}\n`);
  process.exitCode = 1;
}
