/**
 * `deno task fuzz`: what strangers may hand to the plugin, made up by the hundred thousand, against what the plugin
 * promises of each.
 *
 *     deno task fuzz [--seconds 600] [--only sysfs,flags,…] [--seed N] [--path P] [--json]
 *
 * The time is shared out equally. A broken promise prints the smallest case and the command that plays it again, and
 * the exit status is 1. Seeds that found something are kept in test/fuzz/seeds.json, which the tests play again.
 *
 * @module
 */
import process from "node:process";
import { parseArgs } from "node:util";
import { TARGETS } from "./catalogue.ts";
import { fuzz, type Outcome, replayCommand, type Target } from "./target.ts";

const { values } = parseArgs({
  options: {
    seconds: { type: "string", default: "600" },
    only: { type: "string" },
    seed: { type: "string", default: String(Date.now() % 2 ** 31) },
    path: { type: "string" },
    json: { type: "boolean", default: false },
  },
});

/** The targets that are named, all when none is. Ends the process when there is no such. */
function wanted(): readonly Target[] {
  if (values.only === undefined) return TARGETS;
  const names = values.only.split(",");
  const unknown = names.find((name) => !TARGETS.some((target) => target.name === name));
  if (unknown === undefined) return TARGETS.filter((target) => names.includes(target.name));
  process.stderr.write(`There is no target ${unknown}; there are ${TARGETS.map((one) => one.name).join(", ")}\n`);
  process.exit(2);
}

function row(columns: readonly string[]): string {
  const [name = "", ...numbers] = columns;
  return `${name.padEnd(12)}${numbers.map((one, i) => i < 3 ? one.padStart(10) : `  ${one}`).join("")}\n`;
}

function tell(outcome: Outcome): void {
  const tally = Object.entries(outcome.tally).map(([kind, count]) => `${kind} ${count}`).join(", ");
  const perSecond = (outcome.runs / outcome.seconds).toFixed(0);
  process.stdout.write(
    row([outcome.target, String(outcome.runs), outcome.seconds.toFixed(1), perSecond, tally]),
  );
  if (outcome.broken === null) return;
  const promise = TARGETS.find((one) => one.name === outcome.target)!.promise;
  const { smallest, why } = outcome.broken;
  process.stdout.write(
    `\n${outcome.target} broke its promise: ${promise}\n\nsmallest case:\n${smallest}\n\n${why}\n\n` +
      `again: ${replayCommand(outcome)}\n\n`,
  );
}

const targets = wanted();
const seed = Number(values.seed);
const forMs = Number(values.seconds) * 1_000 / targets.length;
const outcomes: Outcome[] = [];
if (!values.json) {
  process.stdout.write(`seed ${seed}, ${(forMs / 1_000).toFixed(0)} s each\n`);
  process.stdout.write(row(["target", "cases", "s", "a second", "came to"]));
}
for (const target of targets) {
  const outcome = await fuzz(
    target,
    values.path === undefined ? { seed, forMs } : { seed, path: values.path, runs: 1 },
  );
  outcomes.push(outcome);
  if (!values.json) tell(outcome);
}
if (values.json) process.stdout.write(`${JSON.stringify(outcomes)}\n`);
process.exitCode = outcomes.some((one) => one.broken !== null) ? 1 : 0;
