/**
 * Runs in the guest as its only business: makes the checks one after the other and reports each on standard output.
 * `init.sh` starts it.
 *
 * @module
 */
import { writeSync } from "node:fs";
import process from "node:process";
import { Bench, Skip } from "./bench.ts";
import { type Check, CHECKS } from "./checks.ts";
import type { Outcome } from "./report.ts";

/** No single check needs longer; one that hangs must not take the others' time. Milliseconds. */
const LIMIT = 80_000;

const bench = new Bench();
for (const check of CHECKS) {
  process.stderr.write(`check: ${check.name}\n`);
  report(await outcome(check));
}
await bench[Symbol.asyncDispose]();
process.exit(0);

async function outcome(check: Check): Promise<Outcome> {
  const begun = performance.now();
  let failure: unknown = null;
  const limit = AbortSignal.timeout(LIMIT);
  const late = new Promise<never>((_, reject) => {
    limit.addEventListener("abort", () => reject(new Error(`not over after ${LIMIT} ms`)));
  });
  try {
    await Promise.race([check.run(bench), late]);
  } catch (error) {
    failure = error ?? new Error("failed without a reason");
  }
  return {
    check: check.name,
    milliseconds: Math.round(performance.now() - begun),
    notes: bench.takeNotes(),
    error: failure === null || failure instanceof Skip ? null : words(failure),
    skipped: failure instanceof Skip ? failure.message : null,
  };
}

function words(error: unknown): string {
  return error instanceof Error ? error.stack ?? error.message : String(error);
}

function report(one: Outcome): void {
  writeSync(1, `${JSON.stringify(one)}\n`);
}
