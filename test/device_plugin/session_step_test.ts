import { deepEqual, equal, match, ok } from "@std/assert";
import type { Facts, Mode, Plan } from "../../src/device_plugin/session_facts.ts";
import { TIMING } from "../../src/device_plugin/session_options.ts";
import { after, type Outcome } from "../../src/device_plugin/session_outcomes.ts";
import { type Action, initialState, type Stage, type State } from "../../src/device_plugin/session_state.ts";
import { next } from "../../src/device_plugin/session_step.ts";

const PLAN: Plan = {
  resource: "example.com/rdma",
  kubeletDir: "/k",
  registryDir: "/r",
  fallback: true,
  timing: TIMING,
};
const OURS = "ours";
const OTHER = "other";
const KUBELET = "kubelet";
const NOW = 1_000_000;

/** Everything is as it should be: our socket in place, the kubelet there and up, no stream. */
const FACTS: Facts = {
  server: { identity: OURS, streams: 0, probedAt: NOW },
  socket: OURS,
  socketDir: true,
  kubelet: KUBELET,
  kubeletDir: true,
  served: new Map([[KUBELET, true]]),
};
const streams = (n: number): Partial<Facts> => ({ server: { identity: OURS, streams: n, probedAt: NOW } });
const served = (...pairs: [string, boolean][]): Partial<Facts> => ({ served: new Map(pairs) });

const announcedBy = (mode: Mode, since = NOW): Stage => ({
  kind: "announced",
  kubelet: mode === "socket" ? KUBELET : null,
  since,
});
const CALLING: Stage = { kind: "calling", kubelet: KUBELET, call: 1, superseded: false };
const UNREGISTERED: Stage = { kind: "unregistered" };
const STANDBY: Stage = { kind: "standby" };

/** A state, given by what is not as at the start. */
function state(stage: Stage, mode: Mode = "socket", history: Partial<State["history"]> = {}): State {
  const initial = initialState(mode);
  return { ...initial, stage, phase: "registering", reason: "a test", history: { ...initial.history, ...history } };
}

/** Facts and state, and what follows: the action, and the stage after it. */
interface Row {
  readonly what: string;
  readonly state: State;
  readonly facts?: Partial<Facts>;
  readonly plan?: Partial<Plan>;
  readonly action: Action;
  readonly stage?: Stage["kind"];
  /** The phase that is reported, and its reason. */
  readonly reports?: readonly [State["phase"], RegExp | null];
  /** The one line for the log; none unless given. */
  readonly notes?: readonly [string, RegExp];
}

const wait = (until: number): Action => ({ do: "wait", until });
const PROBE_DUE = NOW + TIMING.probeIntervalMs;
const POLL = wait(NOW + TIMING.pollMs);

const SERVING: readonly Row[] = [
  {
    what: "at the start it listens",
    state: initialState("socket"),
    facts: { server: null, socket: null },
    action: { do: "listen" },
  },
  {
    what: "a socket of an earlier process is replaced without asking whether it lives",
    state: initialState("socket"),
    facts: { server: null, socket: OTHER },
    action: { do: "listen" },
  },
  {
    what: "without the directory it waits",
    state: initialState("socket"),
    facts: { server: null, socket: null, socketDir: false },
    action: POLL,
    reports: ["waiting", /^\/k does not exist/],
    notes: ["info", /waiting for the kubelet: \/k does not exist/],
  },
  {
    what: "a server whose directory is gone is let go",
    state: state(announcedBy("socket")),
    facts: { socket: null, socketDir: false },
    action: { do: "release", lingerMs: 0 },
    stage: "unregistered",
  },
  {
    what: "a socket that was removed is made again",
    state: state(announcedBy("socket")),
    facts: { socket: null },
    action: { do: "listen" },
    notes: ["info", /was removed, as a kubelet does/],
  },
  {
    what: "a socket that could not be made again is retried without repeating why",
    state: state(announcedBy("socket"), "socket", { failures: 1, retryAt: NOW }),
    facts: { socket: null },
    action: { do: "listen" },
  },
  {
    what: "a socket that cannot be made has its pause; the server that has none goes on",
    state: state(announcedBy("socket"), "socket", { failures: 1, retryAt: NOW + 200 }),
    facts: { socket: null },
    action: wait(NOW + 200),
  },
  {
    what: "a call under way survives that the socket is made again, since the kubelet dials back inside it",
    state: state(CALLING),
    facts: { socket: null },
    action: { do: "listen" },
    stage: "calling",
    notes: ["info", /was removed/],
  },
  {
    what: "the server is probed every so often",
    state: state(announcedBy("socket")),
    facts: { server: { identity: OURS, streams: 1, probedAt: NOW - TIMING.probeIntervalMs } },
    action: { do: "probe", target: "server", identity: OURS },
  },
  {
    what: "a server that does not answer is replaced, and its streams live on meanwhile",
    state: state(announcedBy("socket")),
    facts: { ...streams(1), ...served([OURS, false]) },
    action: { do: "release", lingerMs: TIMING.handOverTimeoutMs },
    stage: "unregistered",
    notes: ["warn", /no longer accepts connections; serving on a new socket/],
  },
  {
    what: "something else at our path is probed",
    state: state(announcedBy("socket")),
    facts: { socket: OTHER },
    action: { do: "probe", target: "other", identity: OTHER },
    stage: "announced",
  },
  {
    what: "a live one has the resource, and a call under way does not count any more",
    state: state(CALLING),
    facts: { socket: OTHER, ...served([OTHER, true]) },
    action: { do: "release", lingerMs: TIMING.handOverTimeoutMs },
    stage: "standby",
    notes: ["warn", /another process now serves \/k\/.* this one is on standby/],
  },
  {
    what: "a dead one is replaced",
    state: state(CALLING),
    facts: { socket: OTHER, ...served([OTHER, false]) },
    action: { do: "release", lingerMs: TIMING.handOverTimeoutMs },
    stage: "unregistered",
  },
  {
    what: "on standby the other one is probed",
    state: state(STANDBY),
    facts: { server: null, socket: OTHER },
    action: { do: "probe", target: "other", identity: OTHER },
    stage: "standby",
  },
  {
    what: "while it lives, every second",
    state: state(STANDBY),
    facts: { server: null, socket: OTHER, ...served([OTHER, true]) },
    action: POLL,
    stage: "standby",
    reports: ["standby", /is served by another process/],
  },
  {
    what: "when it is dead, the resource is taken over",
    state: state(STANDBY),
    facts: { server: null, socket: OTHER, ...served([OTHER, false]) },
    action: { do: "listen" },
    stage: "unregistered",
  },
  {
    what: "when its socket is gone, too",
    state: state(STANDBY),
    facts: { server: null, socket: null },
    action: { do: "listen" },
    stage: "unregistered",
  },
];

const REGISTER: readonly Row[] = [
  {
    what: "without kubelet.sock it waits",
    state: state(announcedBy("socket")),
    facts: { kubelet: null, ...streams(1) },
    action: POLL,
    stage: "unregistered",
    reports: ["waiting", /kubelet\.sock does not exist/],
    notes: ["info", /waiting for the kubelet: /],
  },
  {
    what: "and does not say so twice",
    state: {
      ...state(UNREGISTERED),
      phase: "waiting",
      reason: "/k/kubelet.sock does not exist; the kubelet is down, or uses another directory",
    },
    facts: { kubelet: null },
    action: POLL,
  },
  { what: "it registers", state: state(UNREGISTERED), action: { do: "register", call: 1 }, stage: "calling" },
  {
    what: "one call at a time",
    state: state(CALLING, "socket", { kubelet: KUBELET, calls: 1 }),
    action: wait(PROBE_DUE),
    stage: "calling",
  },
  {
    what: "a call to a kubelet that is gone does not hold up the next one",
    state: state(CALLING, "socket", { kubelet: KUBELET, calls: 1 }),
    facts: { kubelet: "another kubelet" },
    action: { do: "register", call: 2 },
    stage: "calling",
  },
  {
    what: "a new kubelet is registered with, though the old one's stream is open",
    state: state(announcedBy("socket"), "socket", { kubelet: KUBELET, calls: 1 }),
    facts: { kubelet: "another kubelet", ...streams(1) },
    action: { do: "register", call: 2 },
  },
  {
    what: "a refusal is followed by a pause",
    state: state(UNREGISTERED, "socket", { kubelet: KUBELET, failures: 1, retryAt: NOW + 200 }),
    action: wait(NOW + 200),
  },
  {
    what: "accepted: the stream has ten seconds",
    state: state(announcedBy("socket", NOW - 1_000)),
    action: wait(NOW + 9_000),
    reports: ["registering", /has not asked for the list yet/],
  },
  {
    what: "and then it registers again",
    state: state(announcedBy("socket", NOW - 10_000)),
    action: { do: "register", call: 1 },
    stage: "calling",
    notes: ["warn", /never asked for the list; registering again/],
  },
  {
    what: "accepted and followed: registered; nothing to do but the next probe",
    state: state(announcedBy("socket")),
    facts: streams(1),
    action: wait(PROBE_DUE),
    reports: ["registered", null],
  },
];

const WATCHER: readonly Row[] = [
  {
    what: "found and followed: registered, and the kubelet is not even probed",
    state: state(announcedBy("watcher"), "watcher"),
    facts: { ...streams(1), ...served() },
    action: wait(PROBE_DUE),
    reports: ["registered", null],
  },
  {
    what: "without a stream the kubelet is probed first",
    state: state(announcedBy("watcher"), "watcher"),
    facts: served(),
    action: { do: "probe", target: "kubelet", identity: KUBELET },
  },
  {
    what: "while the kubelet is down the socket stays: a kubelet that starts finds it",
    state: state(UNREGISTERED, "watcher"),
    facts: served([KUBELET, false]),
    action: POLL,
    stage: "announced",
    reports: ["waiting", /no one answers on \/k\/kubelet\.sock/],
    notes: ["info", /waiting for the kubelet/],
  },
  {
    what: "the watcher has ten seconds to come",
    state: state(announcedBy("watcher", NOW - 1_000), "watcher"),
    action: wait(NOW + 9_000),
    reports: ["registering", /has not connected yet/],
  },
  {
    what: "when it does not come there is kubelet.sock",
    state: state(announcedBy("watcher", NOW - 10_000), "watcher"),
    action: { do: "release", lingerMs: 0 },
    stage: "unregistered",
    notes: ["warn", /no plugin watcher connected to \/r\/.*; registering on \/k\/kubelet\.sock instead/],
  },
  {
    what: "unless only the watcher is wanted: another socket is made after a pause",
    state: state(announcedBy("watcher", NOW - 10_000), "watcher"),
    plan: { fallback: false },
    action: { do: "release", lingerMs: 0 },
    stage: "unregistered",
    reports: ["waiting", /check that the kubelet is running/],
    notes: ["info", /no plugin watcher connected to \/r\/.*; will be retried/],
  },
  {
    what: "unless the kubelet's directory is not mounted",
    state: state(announcedBy("watcher", NOW - 10_000), "watcher"),
    facts: { kubelet: null, kubeletDir: false },
    action: { do: "release", lingerMs: 0 },
    stage: "unregistered",
    notes: ["info", /will be retried/],
  },
  {
    what: "after a lost stream the watcher is shown another socket",
    state: state(UNREGISTERED, "watcher"),
    action: { do: "release", lingerMs: TIMING.handOverTimeoutMs },
    notes: ["debug", /making a new socket/],
  },
  {
    what: "but not at once when the kubelet ends its streams at once",
    state: state(UNREGISTERED, "watcher", { briefStreams: 1, registeredAt: NOW - 50 }),
    action: wait(NOW + 150),
    reports: ["registering", /has ended its stream/],
  },
];

for (const [name, rows] of Object.entries({ SERVING, REGISTER, WATCHER })) {
  Deno.test(`next() by the table ${name}`, async (t) => {
    for (const row of rows) {
      await t.step(row.what, () => {
        const step = next(row.state, { ...FACTS, ...row.facts }, NOW, { ...PLAN, ...row.plan });
        deepEqual(step.action, row.action);
        if (row.stage !== undefined) equal(step.state.stage.kind, row.stage);
        if (row.reports !== undefined) {
          const [phase, reason] = row.reports;
          equal(step.state.phase, phase);
          if (reason === null) equal(step.state.reason, null);
          else match(step.state.reason ?? "", reason);
        }
        equal(step.notes.length, row.notes === undefined ? 0 : 1, JSON.stringify(step.notes));
        if (row.notes === undefined) return;
        equal(step.notes[0]!.level, row.notes[0]);
        match(step.notes[0]!.message, row.notes[1]);
      });
    }
  });
}

/** Outcomes one after the other; gives the last state and every line for the log. */
function outcomesOn(from: State, ...outcomes: readonly Outcome[]): { state: State; notes: readonly string[] } {
  let state = from;
  const notes: string[] = [];
  for (const outcome of outcomes) {
    const step = after(state, outcome, NOW, PLAN);
    state = step.state;
    notes.push(...step.notes.map(({ level, message }) => `${level} ${message}`));
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
  deepEqual(notes, ["info registered with the kubelet after 3 failed attempts"]);
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
    now =
      outcomesOn({ ...now, history: { ...now.history, registeredAt: NOW } }, { kind: "streams", open: 0, before: 1 })
        .state;
    // Asked twice, as it happens: it is not said twice.
    for (let asked = 0; asked < 2; asked++) {
      const step = next(now, FACTS, NOW, PLAN);
      now = step.state;
      notes.push(...step.notes.map(({ message }) => message));
      if (asked === 0) waits.push(step.action.do === "wait" ? step.action.until - NOW : 0);
    }
  }
  deepEqual(waits, [200, 400, 800, 1_600, 3_200, 6_400, 12_800, 15_000]);
  equal(notes.length, 1);
  match(notes[0]!, /keeps ending its stream at once/);
  const later = next(now, FACTS, NOW + 15_000, PLAN);
  equal(later.action.do, "register");
  // A stream that lasted ends the series.
  const lasted = after(now, { kind: "streams", open: 0, before: 1 }, NOW + TIMING.streamTimeoutMs, PLAN);
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
  match(notes.join(), /warn .* rejected the registration: not today; will be retried/);
  equal(next(refused, FACTS, NOW, PLAN).action.do, "release");
  deepEqual(next(refused, { ...FACTS, server: null }, NOW, PLAN).action, wait(NOW + 200));
  equal(next(refused, { ...FACTS, server: null }, NOW + 200, PLAN).action.do, "listen");
});

Deno.test("after(): a kubelet that opens a stream by itself has found the socket that is there", () => {
  const lost = outcomesOn(state(announcedBy("watcher"), "watcher"), { kind: "streams", open: 0, before: 1 }).state;
  deepEqual(lost.stage, UNREGISTERED);
  deepEqual(outcomesOn(lost, { kind: "streams", open: 1, before: 0 }).state.stage, announcedBy("watcher"));
  const bySocket = outcomesOn(state(UNREGISTERED), { kind: "streams", open: 1, before: 0 }).state;
  deepEqual(bySocket.stage, UNREGISTERED);
});
