/**
 * Applies what happened since the last step: outcomes of actions, events from the kubelet, and requests. Pure.
 *
 * @module
 */
import type { FileIdentity } from "../kubelet/socket_file.ts";
import { kubeletPath, type Plan } from "./session_facts.ts";
import type { SessionNote } from "./session_options.ts";
import { failed } from "./session_report.ts";
import { type State, type Step, withoutBackoff, withoutServer } from "./session_state.ts";

export type Outcome =
  /** Our new socket is in place. */
  | { readonly kind: "listening" }
  /** An action threw an exception. */
  | { readonly kind: "broken"; readonly reason: string }
  /** The kubelet accepted a Register call. */
  | { readonly kind: "accepted"; readonly call: number }
  /** The kubelet rejected the call, or did not answer (`unreachable`). */
  | { readonly kind: "refused"; readonly call: number; readonly reason: string; readonly unreachable: boolean }
  /** The plugin watcher connected and accepted us (`refusal` is null) or not. */
  | { readonly kind: "watched"; readonly refusal: string | null }
  /** A stream was opened or ended. */
  | { readonly kind: "streams"; readonly open: number; readonly before: number; readonly oldestEnded: boolean }
  /** A change in the kubelet's directory. */
  | { readonly kind: "kubeletDirChanged"; readonly kubelet: FileIdentity | null }
  /** A request to register again although nothing seems to be missing. */
  | { readonly kind: "reregister" };

/** The state after an outcome, and messages to log. */
export function after(state: State, outcome: Outcome, now: number, plan: Plan): Omit<Step, "action"> {
  switch (outcome.kind) {
    case "listening":
      return silently(
        state.mode === "watcher"
          ? { ...state, stage: { kind: "announced", kubelet: null, since: now } }
          : withoutServer(state),
      );
    case "broken":
      return failed(state, "error", "socket-failed", outcome.reason, now, plan);
    case "accepted": {
      const { stage } = state;
      if (stage.kind !== "calling" || stage.call !== outcome.call) return silently(state);
      const { kubelet, superseded } = stage;
      return accepted(
        { ...state, stage: superseded ? { kind: "unregistered" } : { kind: "announced", kubelet, since: now } },
        now,
      );
    }
    case "refused": {
      const { stage } = state;
      if (stage.kind !== "calling" || stage.call !== outcome.call) return silently(state);
      const next: State = { ...state, stage: { kind: "unregistered" } };
      return outcome.unreachable
        ? failed(
          next,
          "info",
          "kubelet-not-answering",
          `no one answers on ${kubeletPath(plan)}; waiting for the kubelet`,
          now,
          plan,
        )
        : failed(
          next,
          "warn",
          "registration-rejected",
          `the kubelet rejected the registration: ${outcome.reason}`,
          now,
          plan,
        );
    }
    case "watched": {
      if (outcome.refusal === null) return accepted(state, now);
      const reason = `the kubelet's plugin watcher rejected the registration: ${outcome.refusal}`;
      const next: State = { ...state, stage: { kind: "unregistered" } };
      return failed(next, "warn", "registration-rejected", reason, now, plan);
    }
    case "streams":
      return silently(afterStreams(state, outcome, now, plan));
    case "kubeletDirChanged": {
      const isNew = outcome.kubelet !== null && outcome.kubelet !== state.history.kubelet;
      return silently(isNew ? withoutBackoff(state) : state);
    }
    case "reregister":
      return silently(withoutBackoff(
        state.stage.kind === "calling"
          ? { ...state, stage: { ...state.stage, superseded: true } }
          : withoutServer(state),
      ));
  }
}

/**
 * The end of the oldest stream voids the registration, also while others are open. The oldest is the kubelet's, which
 * connects within Register; the others are other programs', which may come and go.
 */
function afterStreams(
  state: State,
  { open, before, oldestEnded }: Extract<Outcome, { kind: "streams" }>,
  now: number,
  plan: Plan,
): State {
  if (oldestEnded) {
    const { history } = state;
    const isBrief = now - history.registeredAt < plan.timing.streamTimeoutMs;
    return withoutServer({ ...state, history: { ...history, briefStreams: isBrief ? history.briefStreams + 1 : 0 } });
  }
  // The kubelet has reconnected without a new socket.
  const cameBack = open > before && state.mode === "watcher" && state.stage.kind === "unregistered";
  return cameBack ? { ...state, stage: { kind: "announced", kubelet: null, since: now } } : state;
}

function accepted(state: State, now: number): Omit<Step, "action"> {
  const { history } = state;
  const tries = history.failures === 0 ? "" : ` after ${history.failures} failed attempts`;
  return {
    state: {
      ...state,
      history: {
        ...history,
        registrations: history.registrations + 1,
        registeredAt: now,
        failures: 0,
        retryAt: -Infinity,
      },
    },
    notes: [
      { level: "info", code: "registered", message: `registered with the kubelet${tries}` } satisfies SessionNote,
    ],
  };
}

function silently(state: State): Omit<Step, "action"> {
  return { state, notes: [] };
}
