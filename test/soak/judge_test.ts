import { equal, ok, throws } from "@std/assert";
import * as fc from "fast-check";
import { median } from "../support/statistics.ts";
import { judge } from "./judge.ts";

const MIB = 1024 * 1024;
const times = (n: number, value: (i: number) => number) => Array.from({ length: n }, (_, i) => value(i));
/** Chance that is the same every time. */
const noise = (i: number) => Math.sin(i * 12.9898) * 43758.5453 % 1;

Deno.test("judge() flags a leak, bare, below noise, and below a collector's sawtooth", () => {
  ok(!judge(times(40, (i) => 60 * MIB + i * MIB), 8 * MIB).flat);
  ok(!judge(times(40, (i) => 60 * MIB + i * MIB + noise(i) * 6 * MIB), 8 * MIB).flat);
  ok(!judge(times(60, (i) => 60 * MIB + i * MIB / 2 + (i % 7) * 3 * MIB), 8 * MIB).flat);
  // A leak that comes in jumps, as a table that doubles.
  ok(!judge(times(64, (i) => 60 * MIB + 16 * MIB * Math.floor(i / 16)), 8 * MIB).flat);
});

Deno.test("judge() does not take warming up, a sawtooth, noise, an outlier or a fall for a leak", () => {
  ok(judge(times(40, () => 60 * MIB), 0).flat);
  ok(judge(times(40, (i) => 60 * MIB + 30 * MIB * (1 - Math.exp(-i / 3))), 4 * MIB).flat, "warming up");
  for (const period of [2, 3, 5, 7]) {
    for (let phase = 0; phase < period; phase++) {
      ok(judge(times(40, (i) => 60 * MIB + ((i + phase) % period) * 10 * MIB), 2 * MIB).flat, `period ${period}`);
    }
  }
  ok(judge(times(40, (i) => 60 * MIB + noise(i) * 20 * MIB), 4 * MIB).flat, "noise");
  ok(judge(times(40, (i) => i === 38 ? 500 * MIB : 60 * MIB), MIB).flat, "an outlier");
  ok(judge(times(40, (i) => 100 * MIB - i * MIB), 0).flat, "a fall");
});

Deno.test("judge() sees every steady leak that is twice the allowance, whatever rides on it", () => {
  fc.assert(
    fc.property(
      fc.integer({ min: 16, max: 80 }),
      fc.integer({ min: 1, max: 50 }),
      fc.array(fc.double({ min: 0, max: 1, noNaN: true }), { minLength: 80, maxLength: 80 }),
      (n, allowance, jitter) => {
        const perStep = 4 * allowance / n * 1.4;
        const verdict = judge(times(n, (i) => 100 + perStep * i + jitter[i]! * allowance / 4), allowance);
        ok(!verdict.flat, JSON.stringify(verdict));
        ok(judge(times(n, (i) => 100 + jitter[i]! * allowance), allowance).flat);
      },
    ),
    { numRuns: 300 },
  );
});

Deno.test("judge() refuses to speak of too few values", () => {
  throws(() => judge([1, 2, 3], 1), /Cannot judge 3 values/);
});

Deno.test("median() is the middle, of an even number the mean of the two in the middle", () => {
  equal(median([3, 1, 2]), 2);
  equal(median([4, 1, 2, 3]), 2.5);
  ok(Number.isNaN(median([])));
});
