/**
 * Registration by the kubelet's plugin watcher, which discovers our socket. It only handles new files, so a new socket
 * is created when the kubelet has to register us again.
 *
 * @module
 */
import type { SessionCode } from "./session_codes.ts";
import { type Facts, kubeletPath, type Plan, type ServerFacts, socketPath } from "./session_facts.ts";
import { afterBriefStreams, failed, reporting, stillRegistering, then, waiting } from "./session_report.ts";
import type { State, Step } from "./session_state.ts";

/** Our socket is served: waits for the plugin watcher and for the kubelet's ListAndWatch stream. */
export function awaitPluginWatcher(state: State, facts: Facts, server: ServerFacts, now: number, plan: Plan): Step {
  const { stage } = state;
  if (stage.kind === "announced" && server.streams > 0) {
    return then(reporting(state, "registered", "registered", null), { do: "wait", until: Infinity });
  }
  const { kubelet } = facts;
  if (kubelet !== null && !facts.served.has(kubelet)) {
    return then(state, { do: "probe", target: "kubelet", identity: kubelet });
  }
  // If its directory is not mounted, the kubelet is assumed to run.
  if (facts.kubeletDir && (kubelet === null || facts.served.get(kubelet) === false)) {
    // A kubelet that starts finds every existing socket.
    const shown: State = { ...state, stage: { kind: "announced", kubelet: null, since: now } };
    return waiting(
      shown,
      "kubelet-not-answering",
      `no one answers on ${kubeletPath(plan)}; the kubelet is down`,
      now,
      plan,
    );
  }
  if (stage.kind !== "announced") {
    return afterBriefStreams(state, now, plan) ?? then(
      state,
      { do: "release", lingerMs: plan.timing.handOverTimeoutMs },
      { level: "debug", code: "socket-renewed", message: "making a new socket for the plugin watcher to find" },
    );
  }
  const until = stage.since + plan.timing.streamTimeoutMs;
  if (now < until) {
    const reason = "the plugin watcher has not connected yet";
    return then(stillRegistering(state, "no-plugin-watcher", reason), { do: "wait", until });
  }
  return notFound({ ...state, stage: { kind: "unregistered" } }, facts, now, plan);
}

/** From now on on kubelet.sock, for this reason. */
export function registerInstead(state: State, code: SessionCode, reason: string, plan: Plan): Step {
  const message = `${reason}; registering on ${kubeletPath(plan)} instead`;
  return then({ ...state, mode: "socket" }, { do: "release", lingerMs: 0 }, { level: "warn", code, message });
}

function notFound(state: State, facts: Facts, now: number, plan: Plan): Step {
  const path = socketPath(plan, state.mode);
  if (plan.fallback && facts.kubelet !== null) {
    return registerInstead(state, "no-plugin-watcher", `no plugin watcher connected to ${path}`, plan);
  }
  const failure = failed(
    state,
    "info",
    "no-plugin-watcher",
    `no plugin watcher connected to ${path}; check that the kubelet is running`,
    now,
    plan,
  );
  return { ...failure, action: { do: "release", lingerMs: 0 } };
}
