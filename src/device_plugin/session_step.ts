/**
 * The decision function of a session: from its state and the current facts to one action. Pure.
 *
 * Level-triggered: each step compares the desired with the actual state and does the next missing thing. First our
 * socket has to be in place; the rest depends on how the kubelet is notified of it.
 *
 * @module
 */
import { dirname } from "node:path";
import { awaitPluginWatcher, registerInstead } from "./await_plugin_watcher.ts";
import { registerWithKubelet } from "./register_with_kubelet.ts";
import { type Facts, type Plan, type ServerFacts, socketPath } from "./session_facts.ts";
import { reporting, then, waiting } from "./session_report.ts";
import { type Action, type State, type Step, withoutServer } from "./session_state.ts";

/** Failures in a row to make the plugin watcher's socket: a registry that is read-only stays so, a full disk may not. */
const MAX_SOCKET_FAILURES = 3;

/** Returns the next action. `now` and all times are milliseconds of the monotonic clock. */
export function next(state: State, facts: Facts, now: number, plan: Plan): Step {
  const step = decide(state, facts, now, plan);
  if (step.action.do !== "wait" || facts.server === null) return step;
  const probeDue = facts.server.probedAt + plan.timing.probeIntervalMs;
  return { ...step, action: { do: "wait", until: Math.min(step.action.until, probeDue) } };
}

function decide(state: State, facts: Facts, now: number, plan: Plan): Step {
  const { server, socket } = facts;
  if (server !== null && socket === server.identity) return inPlace(state, facts, server, now, plan);
  if (server !== null && socket !== null) return displaced(state, facts, socket, plan);
  if (state.stage.kind === "standby" && socket !== null) {
    const served = facts.served.get(socket);
    if (served === undefined) return then(state, { do: "probe", target: "other", identity: socket });
    if (served) return standby(state, now, plan);
  }
  return toServe(state, facts, now, plan);
}

function inPlace(state: State, facts: Facts, server: ServerFacts, now: number, plan: Plan): Step {
  const { identity } = server;
  if (facts.served.get(identity) === false) {
    // Not closed at once: the kubelet's stream may still work.
    const action: Action = { do: "release", lingerMs: plan.timing.handOverTimeoutMs };
    const message = `${socketPath(plan, state.mode)} no longer accepts connections; serving on a new socket`;
    return then(withoutServer(state), action, { level: "warn", code: "socket-dead", message });
  }
  if (now - server.probedAt >= plan.timing.probeIntervalMs) {
    return then(state, { do: "probe", target: "server", identity });
  }
  const announce = state.mode === "watcher" ? awaitPluginWatcher : registerWithKubelet;
  return announce(state, facts, server, now, plan);
}

/**
 * Another file is at our path. The newer process wins. The probe asks whether a process serves it, not which one, since
 * that process may have created its socket again.
 */
function displaced(state: State, facts: Facts, socket: string, plan: Plan): Step {
  const served = facts.served.get(socket);
  if (served === undefined) return then(state, { do: "probe", target: "other", identity: socket });
  // The kubelet ends our stream after it has registered the newer process. Ending it here would leave the resource
  // without devices for pods that are admitted in between.
  const action: Action = { do: "release", lingerMs: plan.timing.handOverTimeoutMs };
  // A call in progress would register the process at our path, and must not count as ours later.
  if (!served) return then({ ...state, stage: { kind: "unregistered" } }, action);
  const path = socketPath(plan, state.mode);
  const message = `another process now serves ${path} and the resource; this one is on standby`;
  return then({ ...state, stage: { kind: "standby" } }, action, { level: "warn", code: "standby", message });
}

/** A killed process leaves its socket file unchanged, so its end causes no event and it is probed regularly. */
function standby(state: State, now: number, plan: Plan): Step {
  const reason = `${socketPath(plan, state.mode)} is served by another process`;
  return then(reporting(state, "standby", "standby", reason), { do: "wait", until: now + plan.timing.pollMs });
}

/** There is no server, or its socket was removed. */
function toServe(before: State, facts: Facts, now: number, plan: Plan): Step {
  const state: State = before.stage.kind === "standby" ? { ...before, stage: { kind: "unregistered" } } : before;
  const { failures, retryAt } = state.history;
  if (now < retryAt) return then(state, { do: "wait", until: retryAt });
  const path = socketPath(plan, state.mode);
  const isHopeless = state.code === "socket-failed" && failures >= MAX_SOCKET_FAILURES;
  if (isHopeless && state.mode === "watcher" && plan.fallback && facts.kubelet !== null) {
    return registerInstead(state, "socket-failed", `no socket can be made at ${path}`, plan);
  }
  if (!facts.socketDir) {
    if (facts.server !== null) return then(withoutServer(state), { do: "release", lingerMs: 0 });
    const missing = `${dirname(path)} does not exist`;
    const reason = `${missing}; the kubelet creates it, so it is down or uses another directory`;
    return waiting(state, "no-kubelet-dir", reason, now, plan);
  }
  if (facts.server === null || failures > 0) return then(state, { do: "listen" });
  const message = `${path} was removed, as a kubelet does when it starts; serving again`;
  return then(state, { do: "listen" }, { level: "info", code: "socket-removed", message });
}
