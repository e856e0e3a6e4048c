import { deepEqual, equal, match, ok } from "@std/assert";
import * as fc from "fast-check";
import process from "node:process";
import { setTimeout as delay } from "node:timers/promises";
import { TARGETS } from "./catalogue.ts";
import seeds from "./seeds.json" with { type: "json" };
import { fuzz, type Outcome, replayCommand, type Target } from "./target.ts";

/** Milliseconds for all targets together. */
const TIME = process.env.CI === undefined ? 5_000 : 30_000;

/** Where new cases begin: every run makes up its own seed. It is in the step's name, and so in the report. */
const SEED = Date.now() % 2 ** 31;

function unbroken(outcome: Outcome): void {
  const { broken } = outcome;
  if (broken === null) return;
  throw new Error(`${replayCommand(outcome)}\nsmallest case: ${broken.smallest}\n${broken.why}`);
}

for (const target of TARGETS) {
  Deno.test(`fuzz ${target.name}: ${target.promise}`, async (t) => {
    const tallies: Outcome["tally"][] = [];
    let runs = 0;
    const play = async (options: Parameters<typeof fuzz>[1]) => {
      const outcome = await fuzz(target, options);
      unbroken(outcome);
      tallies.push(outcome.tally);
      runs += outcome.runs;
    };
    for (const { seed, runs, found } of seeds.filter((one) => one.target === target.name)) {
      await t.step(`seed ${seed}: ${found}`, () => play({ seed, runs }));
    }
    await t.step(`new cases of seed ${SEED}`, () => play({ seed: SEED, forMs: TIME / TARGETS.length }));
    if (runs < 400) return; // a machine that is too slow for more
    for (const kind of target.kinds) {
      ok(tallies.some((tally) => (tally[kind] ?? 0) > 0), `no case of ${runs} came to "${kind}"`);
    }
  });
}

Deno.test("every seed belongs to a target", () => {
  const names = TARGETS.map((one) => one.name);
  deepEqual(seeds.filter((one) => !names.includes(one.target)), []);
});

/** Breaks its promise at every number above a hundred. */
const broken: Target = {
  name: "broken",
  promise: "no number is above a hundred",
  kinds: [],
  prepare: () =>
    Promise.resolve({
      property: fc.property(fc.record({ number: fc.nat(100_000) }), ({ number }) => ok(number <= 100, `${number}`)),
      tally: {},
      [Symbol.asyncDispose]: () => Promise.resolve(),
    }),
};

Deno.test("fuzz() tells a broken promise with the smallest case, and with a seed and a path that play it again", async () => {
  const outcome = await fuzz(broken, { seed: 7, forMs: 2_000 });
  match(outcome.broken!.smallest, /"number":101\}/);
  match(outcome.broken!.why, /101/);
  equal(replayCommand(outcome), `deno task fuzz --only broken --seed 7 --path ${outcome.broken!.path}`);
  const again = await fuzz(broken, { seed: 7, path: outcome.broken!.path, runs: 1 });
  equal(again.broken!.smallest, outcome.broken!.smallest);
});

Deno.test("fuzz() ends in time and without a complaint when a promise holds", async () => {
  const outcome = await fuzz({
    ...broken,
    prepare: async () => ({ ...await broken.prepare(), property: fc.property(fc.nat(), (n) => n >= 0) }),
  }, { seed: 1, forMs: 50 });
  equal(outcome.broken, null);
  ok(outcome.runs > 10);
});

Deno.test("fuzz() returns when the case that is under way at the end of the time is over", async () => {
  let underWay = 0;
  await fuzz({
    ...broken,
    prepare: async () => ({
      ...await broken.prepare(),
      property: fc.asyncProperty(fc.nat(), async () => {
        underWay++;
        await delay(10);
        underWay--;
      }),
    }),
  }, { seed: 1, forMs: 25 });
  equal(underWay, 0);
});
