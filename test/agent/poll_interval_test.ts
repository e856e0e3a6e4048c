import { deepEqual, equal, ok } from "@std/assert";
import fc from "fast-check";
import { averageCost, expectedCost, pollInterval } from "../../src/agent/poll_interval.ts";

const FACTS = { cost: null, hcas: 2, eventsLive: false, rescanMs: 30_000 } as const;
const cost = (cpuMs: number, elapsedMs = cpuMs) => ({ cpuMs, elapsedMs });

for (
  const [what, facts, expected] of [
    ["events tell of every port", { eventsLive: true }, null],
    ["--rescan 0", { rescanMs: 0 }, null],
    ["no HCA yet, and no events", { hcas: 0 }, 250],
    ["two HCAs, not measured yet", {}, 250],
    ["128 HCAs, not measured yet", { hcas: 128 }, 6_400],
    ["cheap polls", { cost: cost(0.02) }, 250],
    ["16 HCAs at 0.5 ms", { hcas: 16, cost: cost(0.5) }, 500],
    ["128 HCAs at 4 ms", { hcas: 128, cost: cost(4) }, 4_000],
    ["firmware that takes 10 ms of waiting", { cost: cost(0.1, 10) }, 250],
    ["firmware that takes 100 ms of waiting", { cost: cost(0.1, 100) }, 2_000],
    ["polls that cost as much as is left until the next scan", { cost: cost(30) }, null],
    ["a rescan more often than the least interval", { rescanMs: 200 }, null],
    ["a rescan of a second", { rescanMs: 1_000, cost: cost(0.9) }, 900],
  ] as const
) {
  Deno.test(`pollInterval() with ${what}: ${expected ?? "none"}`, () => {
    equal(pollInterval({ ...FACTS, ...facts }), expected);
  });
}

Deno.test("pollInterval() never lets polls take more than a thousandth of a core, nor come within 250 ms", () => {
  const some = fc.double({ min: 0, max: 1e5, noNaN: true });
  fc.assert(fc.property(some, some, fc.nat(1_024), fc.nat(86_400_000), (cpuMs, elapsedMs, hcas, rescanMs) => {
    const ms = pollInterval({ cost: cost(cpuMs, elapsedMs), hcas, eventsLive: false, rescanMs });
    if (ms === null) return;
    ok(ms >= 250 && ms < rescanMs);
    ok(cpuMs / ms <= 0.001 && elapsedMs / ms <= 0.05);
  }));
});

Deno.test("averageCost() forgets one slow poll, and believes many", () => {
  const usual = cost(0.1, 0.2);
  let now = averageCost(usual, cost(8.1, 100.2));
  deepEqual({ cpuMs: Math.round(now.cpuMs * 10), elapsedMs: Math.round(now.elapsedMs * 10) }, {
    cpuMs: 11,
    elapsedMs: 127,
  });
  for (let n = 0; n < 40; n++) now = averageCost(now, usual);
  ok(now.cpuMs < 0.11 && now.elapsedMs < 0.3);
  for (let n = 0; n < 40; n++) now = averageCost(now, cost(8, 100));
  ok(now.cpuMs > 7.9 && now.elapsedMs > 99);
});

Deno.test("expectedCost() grows with the HCAs", () => {
  ok(expectedCost(0).cpuMs === 0 && expectedCost(128).cpuMs === 8 * expectedCost(16).cpuMs);
});
