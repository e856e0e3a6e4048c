import { deepEqual, equal, ok } from "@std/assert";
import { TIMING } from "../../src/device_plugin/session_options.ts";
import { after, type Outcome } from "../../src/device_plugin/session_outcomes.ts";
import type { State } from "../../src/device_plugin/session_state.ts";
import { next } from "../../src/device_plugin/session_step.ts";
import {
  announcedBy,
  CALLING,
  FACTS,
  KUBELET,
  NOW,
  PLAN,
  STANDBY,
  state,
  UNREGISTERED,
  wait,
} from "./session_values.ts";

/** Outcomes one after the other; the last state, and level and code of every log line. */
function outcomesOn(from: State, ...outcomes: readonly Outcome[]): { state: State; notes: readonly string[] } {
  let state = from;
  const notes: string[] = [];
  for (const outcome of outcomes) {
    const step = after(state, outcome, NOW, PLAN);
    state = step.state;
    notes.push(...step.notes.map(({ level, code }) => `${level} ${code}`));
  }
  return { state, notes };
}

Deno.test("after(): what comes of a call that was overtaken counts for nothing", () => {
  for (const kind of ["accepted", "refused"] as const) {
    const outcome: Outcome = kind === "accepted"
      ? { kind, call: 0 }
      : { kind, call: 0, reason: "no", unreachable: false };
    for (const stage of [CALLING, UNREGISTERED, STANDBY, announcedBy("socket")]) {
      const before = state(stage);
      deepEqual(outcomesOn(before, outcome), { state: before, notes: [] });
    }
  }
});

Deno.test("after(): an accepted call announces us, ends the back-off, and says how many tries it took", () => {
  const { state: now, notes } = outcomesOn(state(CALLING, "socket", { failures: 3, retryAt: NOW + 1 }), {
    kind: "accepted",
    call: 1,
  });
  deepEqual(now.stage, announcedBy("socket"));
  deepEqual([now.history.registrations, now.history.failures, now.history.registeredAt], [1, 0, NOW]);
  ok(now.history.retryAt < NOW);
  deepEqual(notes, ["info registered"]);
});

Deno.test("after(): a registration that was asked for during a call is not served by it", () => {
  const { state: now } = outcomesOn(state(CALLING), { kind: "reregister" }, { kind: "accepted", call: 1 });
  deepEqual(now.stage, UNREGISTERED);
  equal(now.history.registrations, 1);
});

Deno.test("after(): failures are retried after 0.2 s, 0.4 s, … 15 s, and a reason is logged once", () => {
  const pauses: number[] = [];
  const levels: string[] = [];
  let now = state(CALLING);
  for (let failures = 1; failures <= 9; failures++) {
    const outcome: Outcome = { kind: "refused", call: 1, reason: "full moon", unreachable: false };
    const step = outcomesOn({ ...now, stage: CALLING }, outcome);
    now = step.state;
    pauses.push(now.history.retryAt - NOW);
    levels.push(...step.notes.map((note) => note.split(" ")[0]!));
  }
  deepEqual(pauses, [200, 400, 800, 1_600, 3_200, 6_400, 12_800, 15_000, 15_000]);
  deepEqual(levels, ["warn", ...Array.from({ length: 8 }, () => "debug")]);
});

Deno.test("after(): a kubelet that does not answer is waited for; one that refuses is being registered with", () => {
  const phase = (unreachable: boolean) =>
    outcomesOn(state(CALLING), { kind: "refused", call: 1, reason: "no", unreachable }).state.phase;
  deepEqual([phase(true), phase(false)], ["waiting", "registering"]);
});

Deno.test("after(): a new kubelet need not wait for the back-off of the old one", () => {
  const before = state(UNREGISTERED, "socket", { kubelet: KUBELET, failures: 5, retryAt: NOW + 1, briefStreams: 2 });
  for (const kubelet of [KUBELET, null]) {
    deepEqual(outcomesOn(before, { kind: "kubeletDirChanged", kubelet }).state, before);
  }
  const { history } = outcomesOn(before, { kind: "kubeletDirChanged", kubelet: "another kubelet" }).state;
  deepEqual([history.failures, history.briefStreams, history.retryAt < NOW], [0, 0, true]);
});

Deno.test("after(): a kubelet that ends every stream at once is asked with growing pauses, which is said once", () => {
  let now = state(announcedBy("socket"), "socket", { kubelet: KUBELET });
  const waits: number[] = [];
  const notes: string[] = [];
  for (let n = 0; n < 8; n++) {
    now = outcomesOn({ ...now, history: { ...now.history, registeredAt: NOW } }, {
      kind: "streams",
      open: 0,
      before: 1,
      oldestEnded: true,
    })
      .state;
    // Asked twice, as it happens: it is not said twice.
    for (let asked = 0; asked < 2; asked++) {
      const step = next(now, FACTS, NOW, PLAN);
      now = step.state;
      notes.push(...step.notes.map(({ code }) => code));
      if (asked === 0) waits.push(step.action.do === "wait" ? step.action.until - NOW : 0);
    }
  }
  deepEqual(waits, [200, 400, 800, 1_600, 3_200, 6_400, 12_800, 15_000]);
  deepEqual(notes, ["brief-streams"]);
  const later = next(now, FACTS, NOW + 15_000, PLAN);
  equal(later.action.do, "register");
  // A stream that lasted ends the series.
  const lasted = after(
    now,
    { kind: "streams", open: 0, before: 1, oldestEnded: true },
    NOW + TIMING.streamTimeoutMs,
    PLAN,
  );
  equal(lasted.state.history.briefStreams, 0);
  // Another kubelet is not held to account.
  equal(next(now, { ...FACTS, kubelet: "another kubelet" }, NOW, PLAN).action.do, "register");
});

Deno.test("after(): the plugin watcher's decision is taken in, and a refusal makes another socket after a pause", () => {
  const before = state(announcedBy("watcher"), "watcher");
  const accepted = outcomesOn(before, { kind: "watched", refusal: null });
  deepEqual(accepted.state.stage, before.stage);
  equal(accepted.state.history.registrations, 1);
  const { state: refused, notes } = outcomesOn(before, { kind: "watched", refusal: "not today" });
  equal(refused.history.retryAt, NOW + 200);
  deepEqual(notes, ["warn registration-rejected"]);
  equal(next(refused, FACTS, NOW, PLAN).action.do, "release");
  deepEqual(next(refused, { ...FACTS, server: null }, NOW, PLAN).action, wait(NOW + 200));
  equal(next(refused, { ...FACTS, server: null }, NOW + 200, PLAN).action.do, "listen");
});

Deno.test("after(): a kubelet that opens a stream by itself has found the socket that is there", () => {
  const lost =
    outcomesOn(state(announcedBy("watcher"), "watcher"), { kind: "streams", open: 0, before: 1, oldestEnded: true })
      .state;
  deepEqual(lost.stage, UNREGISTERED);
  deepEqual(
    outcomesOn(lost, { kind: "streams", open: 1, before: 0, oldestEnded: false }).state.stage,
    announcedBy("watcher"),
  );
  const bySocket = outcomesOn(state(UNREGISTERED), { kind: "streams", open: 1, before: 0, oldestEnded: false }).state;
  deepEqual(bySocket.stage, UNREGISTERED);
});
