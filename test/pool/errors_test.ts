import { deepEqual, equal, match, ok } from "@std/assert";
import * as fc from "fast-check";
import {
  type ErrorHistory,
  exceededRules,
  type HcaValues,
  increase,
  observe,
  ruleText,
  type WatchedCounter,
} from "../../src/pool/errors.ts";
import { devices } from "../../src/pool/devices.ts";
import type { ErrorRule } from "../../src/pool/spec.ts";
import { select } from "../../src/pool/select.ts";
import { type PoolStates, track } from "../../src/pool/states.ts";
import { hca, port, snapshot, spec } from "../support/hcas.ts";

const MINUTE = 60_000;
const RULE: ErrorRule = { counter: "link_downed", limit: 5, windowMs: 10 * MINUTE };
const RULES = new Map([["mlx5_0", [RULE]]]);

/** What an HCA answers: link_downed of port 1. */
const answer = (value: number | bigint, over: Partial<HcaValues> = {}): HcaValues => ({
  hca: "mlx5_0",
  identity: "a",
  values: [{ counter: "link_downed", port: 1, group: "port", value: BigInt(value) }],
  ...over,
});

/** Values read at these minutes; null is an HCA that did not answer, "none" one without the counter. */
type Reading = number | bigint | null | "none";
function read(readings: readonly (readonly [minute: number, value: Reading])[], rules = RULES): ErrorHistory {
  return readings.reduce<ErrorHistory>((history, [minute, value]) => {
    const answers = value === null ? [] : [value === "none" ? answer(0, { values: [] }) : answer(value)];
    return observe(history, rules, answers, minute * MINUTE);
  }, new Map());
}
const only = (history: ErrorHistory): WatchedCounter => [...history.values()][0]!;
const exceeds = (history: ErrorHistory) => exceededRules(history).has("mlx5_0");

Deno.test("what a counter held before the first reading is no error", () => {
  const history = read([[0, 200]]);
  equal(only(history).count, 0);
  equal(exceeds(history), false);
});

Deno.test("a rule is exceeded at its limit and not below it", () => {
  equal(exceeds(read([[0, 0], [1, 4]])), false);
  equal(exceeds(read([[0, 0], [1, 5]])), true);
  equal(exceeds(read([[0, 0], [1, 2], [9, 5]])), true);
});

Deno.test("errors older than the window do not count", () => {
  equal(exceeds(read([[0, 0], [1, 4], [11, 5]])), false);
  equal(only(read([[0, 0], [1, 4], [11, 5]])).count, 1);
});

Deno.test("an exceeded rule stays so for a whole window after the last error that reached the limit", () => {
  const burst = [[0, 0], [2, 1], [4, 2], [6, 3], [8, 4], [9, 5]] as const;
  // The first error leaves the window at 12 minutes; a rule that followed the count alone would be met then.
  equal(exceeds(read([...burst, [13, 5]])), true);
  equal(only(read([...burst, [13, 5]])).count, 4);
  equal(exceeds(read([...burst, [18.9, 5]])), true);
  equal(exceeds(read([...burst, [19, 5]])), false);
  // One more error while the window still has five begins the wait again; fewer than that do not.
  equal(exceeds(read([...burst, [11, 6], [20, 6]])), true);
  equal(exceeds(read([...burst, [18, 6], [19, 6]])), false);
});

Deno.test("the count that is told is the one with which the limit was reached, however it goes on", () => {
  const history = read([[0, 0], [1, 7], [2, 9], [3, 20]]);
  equal(only(history).exceeded?.count, 7);
  equal(only(history).count, 20);
});

Deno.test("a counter that was reset counts from zero", () => {
  equal(only(read([[0, 200], [1, 3]])).count, 3, "perfquery -R, and three errors since");
  equal(exceeds(read([[0, 200], [1, 0]])), false);
  equal(exceeds(read([[0, 200], [1, 0], [2, 5]])), true);
});

Deno.test("a counter that wraps at 32 or 64 bits goes on", () => {
  equal(increase(2n ** 32n - 3n, 4n), 7);
  equal(increase(2n ** 64n - 3n, 4n), 7);
  equal(increase(2n ** 60n, 2n ** 60n + 5n), 5, "more than a number holds exactly");
  equal(increase(100n, 40n), 40);
  equal(increase(0n, 2n ** 63n), Number.MAX_SAFE_INTEGER);
});

Deno.test("a counter that stays at its maximum exceeds its rule once, and not for ever", () => {
  const full = read([[0, 240], [1, 255], [2, 255]]);
  equal(exceeds(full), true);
  equal(exceeds(read([[0, 240], [1, 255], [2, 255], [11, 255]])), false);
});

Deno.test("all ones is no value", () => {
  const history = read([[0, 3], [1, 2n ** 64n - 1n], [2, 3]]);
  equal(only(history).count, 0);
});

Deno.test("an HCA that does not answer is as it was", () => {
  equal(exceeds(read([[0, 0], [1, 5], [30, null]])), true);
  equal(exceeds(read([[0, 0], [1, 5], [30, null], [31, 5]])), false);
});

Deno.test("errors of a pause longer than the window are spread over it", () => {
  equal(only(read([[0, 0], [40, 12]])).count, 3);
  equal(exceeds(read([[0, 0], [100, 49]])), false);
  equal(exceeds(read([[0, 0], [100, 50]])), true);
});

Deno.test("a counter that is gone is met after a window, and then forgotten", () => {
  equal(exceeds(read([[0, 0], [1, 5], [2, "none"]])), true);
  const later = read([[0, 0], [1, 5], [2, "none"], [12, "none"]]);
  equal(later.size, 0);
});

Deno.test("a driver that is loaded again within the window keeps what was counted", () => {
  const before = read([[0, 0], [1, 4]]);
  const away = observe(before, new Map(), [], 2 * MINUTE);
  const back = observe(away, RULES, [answer(0)], 3 * MINUTE);
  equal(exceeds(observe(back, RULES, [answer(1)], 4 * MINUTE)), true);
});

Deno.test("another adapter under the same name starts from what its counter holds", () => {
  const before = read([[0, 0]]);
  equal(exceeds(observe(before, RULES, [answer(200, { identity: "b" })], MINUTE)), false);
});

Deno.test("a rule that is taken out of the configuration is forgotten, and an equal one goes on", () => {
  const before = read([[0, 0], [1, 5]]);
  const same = new Map([["mlx5_0", [{ ...RULE }]]]);
  equal(exceeds(observe(before, same, [answer(5)], 2 * MINUTE)), true);
  const other = new Map([["mlx5_0", [{ ...RULE, limit: 50 }]]]);
  const after = observe(before, other, [answer(5)], 2 * MINUTE);
  deepEqual([...after.values()].map((one) => one.rule.limit).sort(), [5, 50]);
  deepEqual([...observe(after, other, [answer(5)], 30 * MINUTE).values()].map((one) => one.rule.limit), [50]);
});

Deno.test("memory for a counter is bounded, however often it is read and grows", () => {
  let history: ErrorHistory = new Map();
  for (let n = 0; n < 5_000; n++) history = observe(history, RULES, [answer(n)], n * 1_000);
  ok(only(history).slots.length <= 60);
  const { count } = only(history);
  ok(count > 580 && count <= 600, `${count} errors in ten minutes of one a second`);
});

Deno.test("whatever is read: never fewer than no errors, and exceeded only with the limit reached", () => {
  const reading = fc.tuple(fc.integer({ min: 1, max: 5 }), fc.option(fc.bigInt({ min: 0n, max: 2n ** 64n - 1n })));
  fc.assert(fc.property(fc.array(reading, { maxLength: 40 }), (readings) => {
    let history: ErrorHistory = new Map();
    let minute = 0;
    for (const [pause, value] of readings) {
      minute += pause;
      history = observe(history, RULES, value === null ? [] : [answer(value)], minute * MINUTE);
      for (const one of history.values()) {
        ok(one.count >= 0 && Number.isFinite(one.count));
        ok(one.exceeded === null || one.exceeded.count >= RULE.limit);
        ok(one.exceeded === null || value === null || minute * MINUTE - one.exceeded.at < RULE.windowMs);
      }
    }
  }));
});

Deno.test("ruleText() writes a rule as the configuration does", () => {
  equal(ruleText(RULE), "5 per 10m");
  equal(ruleText({ counter: "x", limit: 1, windowMs: 1_500 }), "1 per 1500ms");
});

// From exceeded rules to the health of devices.

const EXCEEDED = exceededRules(read([[0, 0], [1, 7]]));
const SPEC = spec({ health: { ...spec().health, errors: [RULE] } });

function judged(of: typeof SPEC, hcas = [hca(0)], exceeded = EXCEEDED, before: PoolStates = new Map(), now = 0) {
  return track(before, select([of], snapshot(hcas)), new Map(), now, () => null, exceeded);
}
const healthOf = ({ states }: { states: PoolStates }) =>
  devices(states.get(SPEC.name)!).map((one) => `${one.id}:${one.healthy}`);

Deno.test("a device with too many errors is Unhealthy with the counter, its count and its window", () => {
  const { states, changes } = judged(SPEC, [hca(0), hca(1)]);
  deepEqual(healthOf({ states }), ["mlx5_0:false", "mlx5_1:true"]);
  const state = states.get(SPEC.name)!.deviceStates.get("mlx5_0")!;
  deepEqual([state.code, state.port, state.counter], ["counter-errors", 1, "link_downed"]);
  match(changes[0]!.reason, /port 1's link_downed went up by 7 within 10m \(limit 5\)/);
});

Deno.test("rules of one resource do not concern another", () => {
  deepEqual(healthOf(judged(spec())), ["mlx5_0:true"]);
  deepEqual(healthOf(judged(spec({ health: { ...SPEC.health, errors: [{ ...RULE, limit: 6 }] } }))), ["mlx5_0:true"]);
});

Deno.test("a port with too many errors is as one that is down: it decides as `ports` and `require` say", () => {
  const two = [hca(0, { ports: [port(1), port(2)] })];
  const health = (over: object) => spec({ health: { ...SPEC.health, ...over } });
  deepEqual(healthOf(judged(SPEC, two)), ["mlx5_0:true"], "the other port is enough");
  deepEqual(healthOf(judged(health({ require: "all" }), two)), ["mlx5_0:false"]);
  deepEqual(healthOf(judged(health({ ports: [1] }), two)), ["mlx5_0:false"]);
  deepEqual(healthOf(judged(health({ ports: [2] }), two)), ["mlx5_0:true"]);
  const down = [hca(0, { ports: [port(1), port(2, { state: "DOWN", physState: "Polling" })] })];
  const both = judged(SPEC, down);
  deepEqual(healthOf(both), ["mlx5_0:false"]);
  const { code, reason } = both.states.get(SPEC.name)!.deviceStates.get("mlx5_0")!;
  equal(code, "counter-errors");
  match(reason, /link_downed went up by 7.*, port 2 is DOWN/);
});

Deno.test("errors count with policy: present, too, and so on VFs", () => {
  const present = spec({ health: { ...SPEC.health, policy: "present" } });
  deepEqual(healthOf(judged(present)), ["mlx5_0:false"]);
  const vf = hca(0, { kind: "vf", ports: [port(1, { state: "DOWN" })] });
  deepEqual(healthOf(judged(SPEC, [vf])), ["mlx5_0:false"]);
  deepEqual(healthOf(judged(SPEC, [vf], new Map())), ["mlx5_0:true"]);
});

Deno.test("a counter of the whole HCA needs no port", () => {
  const rule = { ...RULE, counter: "out_of_buffer" };
  const rules = new Map([["mlx5_0", [rule]]]);
  const whole = (value: bigint) => [{
    hca: "mlx5_0",
    identity: "a",
    values: [{ counter: "out_of_buffer", port: null, group: "hca-hw", value }],
  }];
  const exceeded = exceededRules(observe(observe(new Map(), rules, whole(0n), 0), rules, whole(9n), 1));
  const of = spec({ health: { ...SPEC.health, errors: [rule] } });
  const { states } = judged(of, [hca(0, { ports: [] })], exceeded);
  const state = states.get(of.name)!.deviceStates.get("mlx5_0")!;
  deepEqual([state.healthy, state.port, state.counter], [false, null, "out_of_buffer"]);
});

Deno.test("a device is Healthy again after the settle time, and its list is not touched meanwhile", () => {
  const host = [hca(0)];
  const bad = judged(SPEC, host);
  const more = judged(SPEC, host, exceededRules(read([[0, 0], [1, 7], [2, 90]])), bad.states, 10);
  equal(more.states, bad.states, "more errors change nothing");
  const met = judged(SPEC, host, new Map(), bad.states, 100);
  deepEqual(healthOf(met), ["mlx5_0:false"]);
  equal(met.states.get(SPEC.name)!.deviceStates.get("mlx5_0")!.counter, "link_downed");
  const back = judged(SPEC, host, new Map(), met.states, 1_100);
  deepEqual(healthOf(back), ["mlx5_0:true"]);
  equal(back.states.get(SPEC.name)!.deviceStates.get("mlx5_0")!.counter, null);
});
