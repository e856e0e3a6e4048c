/**
 * How steps are put together: an action, what is reported with it, and lines for the log that repeat nothing.
 *
 * @module
 */
import type { Plan } from "./session_facts.ts";
import type { Phase, SessionNote } from "./session_options.ts";
import { type Action, pause, type State, type Step } from "./session_state.ts";

/** So many brief streams in a row are no restart of the kubelet any more. */
const MAX_BRIEF_STREAMS = 4;

/** A step: the state, the action, and lines for the log. */
export function then(state: State, action: Action, ...notes: readonly SessionNote[]): Step {
  return { state, action, notes };
}

/** The state with another report. */
export function reporting(state: State, phase: Phase, reason: string | null): State {
  return { ...state, phase, reason };
}

/** As {@link reporting}; a kubelet that is not there stays reported until it has answered. */
export function stillRegistering(state: State, reason: string): State {
  return state.phase === "waiting" ? state : reporting(state, "registering", reason);
}

/** The kubelet is not there. It is checked on every so often: its directory may be another one now, without an event. */
export function waiting(state: State, reason: string, now: number, { timing }: Plan): Step {
  const isNew = state.phase !== "waiting" || state.reason !== reason;
  const notes: SessionNote[] = isNew ? [{ level: "info", message: `waiting for the kubelet: ${reason}` }] : [];
  return then(reporting(state, "waiting", reason), { do: "wait", until: now + timing.pollMs }, ...notes);
}

/** Something failed and is tried again after a growing pause. The same reason again is not logged above debug. */
export function failed(
  state: State,
  level: "info" | "warn" | "error",
  reason: string,
  now: number,
  { timing }: Plan,
): Omit<Step, "action"> {
  const failures = state.history.failures + 1;
  const retryAt = now + pause(timing, failures - 1);
  const note: SessionNote = state.reason === reason
    ? { level: "debug", message: `${reason}; try ${failures}` }
    : { level, message: `${reason}; will be retried` };
  return {
    state: {
      ...reporting(state, level === "info" ? "waiting" : "registering", reason),
      history: { ...state.history, failures, retryAt },
    },
    notes: [note],
  };
}

/**
 * A kubelet that ends its streams as soon as they are open is left alone for a while longer each time.
 *
 * @returns null when it may be asked to open another one now
 */
export function afterBriefStreams(state: State, now: number, { timing }: Plan): Step | null {
  const { briefStreams, registeredAt } = state.history;
  if (briefStreams === 0) return null;
  const until = registeredAt + pause(timing, briefStreams - 1);
  if (now >= until) return null;
  const reason = briefStreams < MAX_BRIEF_STREAMS
    ? "the kubelet has ended its stream"
    : "the kubelet accepts the registration and ends its stream at once, again and again; its log says why, and it " +
      "is tried with growing pauses";
  const notes: SessionNote[] = briefStreams === MAX_BRIEF_STREAMS && state.reason !== reason
    ? [{ level: "warn", message: reason }]
    : [];
  return then(reporting(state, "registering", reason), { do: "wait", until }, ...notes);
}
