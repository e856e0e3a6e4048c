import { deepEqual, equal } from "@std/assert";
import type { Facts, Plan } from "../../src/device_plugin/session_facts.ts";
import type { SessionCode } from "../../src/device_plugin/session_codes.ts";
import { type SessionNote, TIMING } from "../../src/device_plugin/session_options.ts";
import { type Action, initialState, type Stage, type State } from "../../src/device_plugin/session_state.ts";
import { next } from "../../src/device_plugin/session_step.ts";
import {
  announcedBy,
  CALLING,
  FACTS,
  KUBELET,
  NOW,
  OTHER,
  OURS,
  PLAN,
  served,
  STANDBY,
  state,
  streams,
  UNREGISTERED,
  wait,
} from "./session_values.ts";

/** Facts and state, and what follows: the action, and the stage after it. */
interface Row {
  readonly what: string;
  readonly state: State;
  readonly facts?: Partial<Facts>;
  readonly plan?: Partial<Plan>;
  readonly action: Action;
  readonly stage?: Stage["kind"];
  /** The phase that is reported, and its code. */
  readonly reports?: readonly [State["phase"], SessionCode];
  /** Level and code of the one line for the log; none unless given. */
  readonly notes?: readonly [SessionNote["level"], SessionCode];
}

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
    reports: ["waiting", "no-kubelet-dir"],
    notes: ["info", "no-kubelet-dir"],
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
    notes: ["info", "socket-removed"],
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
    notes: ["info", "socket-removed"],
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
    notes: ["warn", "socket-dead"],
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
    notes: ["warn", "standby"],
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
    reports: ["standby", "standby"],
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
    reports: ["waiting", "no-kubelet-socket"],
    notes: ["info", "no-kubelet-socket"],
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
    reports: ["registering", "no-stream"],
  },
  {
    what: "and then it registers again",
    state: state(announcedBy("socket", NOW - 10_000)),
    action: { do: "register", call: 1 },
    stage: "calling",
    notes: ["warn", "no-stream"],
  },
  {
    what: "accepted and followed: registered; nothing to do but the next probe",
    state: state(announcedBy("socket")),
    facts: streams(1),
    action: wait(PROBE_DUE),
    reports: ["registered", "registered"],
  },
];

const WATCHER: readonly Row[] = [
  {
    what: "found and followed: registered, and the kubelet is not even probed",
    state: state(announcedBy("watcher"), "watcher"),
    facts: { ...streams(1), ...served() },
    action: wait(PROBE_DUE),
    reports: ["registered", "registered"],
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
    reports: ["waiting", "kubelet-not-answering"],
    notes: ["info", "kubelet-not-answering"],
  },
  {
    what: "the watcher has ten seconds to come",
    state: state(announcedBy("watcher", NOW - 1_000), "watcher"),
    action: wait(NOW + 9_000),
    reports: ["registering", "no-plugin-watcher"],
  },
  {
    what: "when it does not come there is kubelet.sock",
    state: state(announcedBy("watcher", NOW - 10_000), "watcher"),
    action: { do: "release", lingerMs: 0 },
    stage: "unregistered",
    notes: ["warn", "no-plugin-watcher"],
  },
  {
    what: "unless only the watcher is wanted: another socket is made after a pause",
    state: state(announcedBy("watcher", NOW - 10_000), "watcher"),
    plan: { fallback: false },
    action: { do: "release", lingerMs: 0 },
    stage: "unregistered",
    reports: ["waiting", "no-plugin-watcher"],
    notes: ["info", "no-plugin-watcher"],
  },
  {
    what: "unless the kubelet's directory is not mounted",
    state: state(announcedBy("watcher", NOW - 10_000), "watcher"),
    facts: { kubelet: null, kubeletDir: false },
    action: { do: "release", lingerMs: 0 },
    stage: "unregistered",
    notes: ["info", "no-plugin-watcher"],
  },
  {
    what: "after a lost stream the watcher is shown another socket",
    state: state(UNREGISTERED, "watcher"),
    action: { do: "release", lingerMs: TIMING.handOverTimeoutMs },
    notes: ["debug", "socket-renewed"],
  },
  {
    what: "but not at once when the kubelet ends its streams at once",
    state: state(UNREGISTERED, "watcher", { briefStreams: 1, registeredAt: NOW - 50 }),
    action: wait(NOW + 150),
    reports: ["registering", "brief-streams"],
  },
];

for (const [name, rows] of Object.entries({ SERVING, REGISTER, WATCHER })) {
  Deno.test(`next() by the table ${name}`, async (t) => {
    for (const row of rows) {
      await t.step(row.what, () => {
        const step = next(row.state, { ...FACTS, ...row.facts }, NOW, { ...PLAN, ...row.plan });
        deepEqual(step.action, row.action);
        if (row.stage !== undefined) equal(step.state.stage.kind, row.stage);
        if (row.reports !== undefined) deepEqual([step.state.phase, step.state.code], row.reports);
        equal(step.state.reason === null, step.state.phase === "registered", "a reason unless it is registered");
        deepEqual(step.notes.map(({ level, code }) => [level, code]), row.notes === undefined ? [] : [row.notes]);
      });
    }
  });
}
