/**
 * Builds steps: an action, the reported phase, and log lines without repetitions.
 *
 * @module
 */
import type { SessionCode } from "./session_codes.ts";
import type { Plan } from "./session_facts.ts";
import type { Phase, SessionNote } from "./session_options.ts";
import { type Action, pause, type State, type Step } from "./session_state.ts";

/** More brief streams in a row than restarts of the kubelet explain. */
const MAX_BRIEF_STREAMS = 4;

/** Creates a step from a state, an action, and log lines. */
export function then(state: State, action: Action, ...notes: readonly SessionNote[]): Step {
  return { state, action, notes };
}

/** The state with another reported phase and reason. */
export function reporting(state: State, phase: Phase, code: SessionCode, reason: string | null): State {
  return { ...state, phase, code, reason };
}

/** As {@link reporting}, but a kubelet that is down stays reported until it has answered. */
export function stillRegistering(state: State, code: SessionCode, reason: string): State {
  return state.phase === "waiting" ? state : reporting(state, "registering", code, reason);
}

/** The kubelet is not running. It is polled, because its directory may be replaced without an event. */
export function waiting(state: State, code: SessionCode, reason: string, now: number, { timing }: Plan): Step {
  const isNew = state.phase !== "waiting" || state.reason !== reason;
  const notes: SessionNote[] = isNew ? [{ level: "info", code, message: `waiting for the kubelet: ${reason}` }] : [];
  return then(reporting(state, "waiting", code, reason), { do: "wait", until: now + timing.pollMs }, ...notes);
}

/** Something failed and is retried after a growing pause. The same reason is logged again only at debug level. */
export function failed(
  state: State,
  level: "info" | "warn" | "error",
  code: SessionCode,
  reason: string,
  now: number,
  { timing }: Plan,
): Omit<Step, "action"> {
  const failures = state.history.failures + 1;
  const retryAt = now + pause(timing, failures - 1);
  const note: SessionNote = state.reason === reason
    ? { level: "debug", code, message: `${reason}; try ${failures}` }
    : { level, code, message: `${reason}; will be retried` };
  return {
    state: {
      ...reporting(state, level === "info" ? "waiting" : "registering", code, reason),
      history: { ...state.history, failures, retryAt },
    },
    notes: [note],
  };
}

/**
 * Delays the next registration with a kubelet that keeps ending its streams right after opening them.
 *
 * @returns null when it may open another one now
 */
export function afterBriefStreams(state: State, now: number, { timing }: Plan): Step | null {
  const { briefStreams, registeredAt } = state.history;
  if (briefStreams === 0) return null;
  const until = registeredAt + pause(timing, briefStreams - 1);
  if (now >= until) return null;
  const code = "brief-streams";
  const reason = briefStreams < MAX_BRIEF_STREAMS
    ? "the kubelet has ended its stream"
    : "the kubelet accepts the registration but keeps ending its stream at once; see its log for the reason. " +
      "Registration is retried with growing pauses";
  const notes: SessionNote[] = briefStreams === MAX_BRIEF_STREAMS && state.reason !== reason
    ? [{ level: "warn", code, message: reason }]
    : [];
  return then(reporting(state, "registering", code, reason), { do: "wait", until }, ...notes);
}
