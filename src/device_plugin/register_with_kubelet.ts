/**
 * Registration by calling Register on kubelet.sock of the running kubelet.
 *
 * @module
 */
import { type Facts, kubeletPath, type Plan, type ServerFacts } from "./session_facts.ts";
import { afterBriefStreams, reporting, stillRegistering, then, waiting } from "./session_report.ts";
import type { State, Step } from "./session_state.ts";

/** Our socket is served: registers with the kubelet and waits for its ListAndWatch stream. */
export function registerWithKubelet(before: State, facts: Facts, server: ServerFacts, now: number, plan: Plan): Step {
  const { kubelet } = facts;
  if (kubelet === null) {
    const state: State = { ...before, stage: { kind: "unregistered" } };
    return waiting(
      state,
      "no-kubelet-socket",
      `${kubeletPath(plan)} does not exist; the kubelet is down, or uses another directory`,
      now,
      plan,
    );
  }
  const { stage } = before;
  const isCurrent = "kubelet" in stage && stage.kubelet === kubelet;
  if (isCurrent && stage.kind === "announced") {
    return followed(before, stage.since, kubelet, server, now, plan);
  }
  if (isCurrent && stage.kind === "calling") return then(before, { do: "wait", until: Infinity });
  // A call to a previous kubelet may take until its deadline; registration with the new one does not wait for it.
  return call({ ...before, stage: { kind: "unregistered" } }, kubelet, now, plan);
}

/** The kubelet never opens a second stream on its own: without a stream we register again. */
function followed(state: State, since: number, kubelet: string, server: ServerFacts, now: number, plan: Plan): Step {
  if (server.streams > 0) {
    return then(reporting(state, "registered", "registered", null), { do: "wait", until: Infinity });
  }
  const until = since + plan.timing.streamTimeoutMs;
  if (now < until) {
    const reason = "the kubelet has not asked for the list yet";
    return then(reporting(state, "registering", "no-stream", reason), { do: "wait", until });
  }
  const step = call({ ...state, stage: { kind: "unregistered" } }, kubelet, now, plan);
  const message = "the kubelet accepted the registration, but never asked for the list; registering again";
  return { ...step, notes: [{ level: "warn", code: "no-stream", message }, ...step.notes] };
}

function call(state: State, kubelet: string, now: number, plan: Plan): Step {
  const { history } = state;
  if (now < history.retryAt) return then(state, { do: "wait", until: history.retryAt });
  const isSameKubelet = history.kubelet === kubelet;
  const later = isSameKubelet ? afterBriefStreams(state, now, plan) : null;
  if (later !== null) return later;
  const number = history.calls + 1;
  // The reason of an earlier failure is kept, and is not logged again when the call fails in the same way.
  const isRetry = state.phase === "registering" && state.reason !== null;
  const reported = isRetry ? state : stillRegistering(state, "registering", "a Register call is in progress");
  return then({
    ...reported,
    stage: { kind: "calling", kubelet, call: number, superseded: false },
    history: { ...history, kubelet, calls: number },
  }, { do: "register", call: number });
}
