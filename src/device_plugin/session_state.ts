/**
 * The state of a session between two steps, and the actions of a step.
 *
 * @module
 */
import type { FileIdentity } from "../kubelet/socket_file.ts";
import type { SessionCode } from "./session_codes.ts";
import type { Mode } from "./session_facts.ts";
import type { Phase, SessionNote, Timing } from "./session_options.ts";

/** Stage of the registration. */
export type Stage =
  /** The kubelet does not know our socket. */
  | { readonly kind: "unregistered" }
  /** A Register call is in progress. `superseded`: another registration was requested after it started. */
  | { readonly kind: "calling"; readonly kubelet: FileIdentity; readonly call: number; readonly superseded: boolean }
  /**
   * The kubelet knows our socket since this time: it accepted the call (`kubelet` identifies its kubelet.sock), or its
   * plugin watcher can find the socket (`kubelet` is null). Its stream may still be missing.
   */
  | { readonly kind: "announced"; readonly kubelet: FileIdentity | null; readonly since: number }
  /** Another process serves our path, and this one has released the resource. */
  | { readonly kind: "standby" };

/** Earlier attempts, which determine the pauses. */
export interface History {
  /** The kubelet.sock of the last call; a new one does not wait for the backoff of the old one. */
  readonly kubelet: FileIdentity | null;
  /** Register calls that were started. */
  readonly calls: number;
  /** Accepted registrations, and the time of the last one. */
  readonly registrations: number;
  readonly registeredAt: number;
  /** Failures in a row, and the time of the next attempt. */
  readonly failures: number;
  readonly retryAt: number;
  /** Streams in a row that the kubelet ended soon after the registration. */
  readonly briefStreams: number;
}

export interface State {
  readonly mode: Mode;
  readonly stage: Stage;
  /** The reported phase and reason. A reason is logged when it changes. */
  readonly phase: Phase;
  readonly code: SessionCode;
  readonly reason: string | null;
  readonly history: History;
}

/** The executor's next action. After all actions but "wait" and "register" another step follows. */
export type Action =
  /** Checks whether a socket is served: our own, that of another process at our path, or the kubelet's. */
  | { readonly do: "probe"; readonly target: "server" | "other" | "kubelet"; readonly identity: FileIdentity }
  /** Creates a socket and serves on it, replacing the current server. */
  | { readonly do: "listen" }
  /** Releases the server when its streams have ended, or after this time in milliseconds. */
  | { readonly do: "release"; readonly lingerMs: number }
  /** Starts a Register call. Steps continue meanwhile, because the kubelet dials back inside it. */
  | { readonly do: "register"; readonly call: number }
  /** Waits for a change, or until this time. */
  | { readonly do: "wait"; readonly until: number };

/** Result of a step or an outcome. */
export interface Step {
  readonly state: State;
  readonly action: Action;
  readonly notes: readonly SessionNote[];
}

/** The state of a new session. */
export function initialState(mode: Mode): State {
  return {
    mode,
    stage: { kind: "unregistered" },
    phase: "waiting",
    code: "starting",
    reason: "it has not started",
    history: {
      kubelet: null,
      calls: 0,
      registrations: 0,
      registeredAt: -Infinity,
      failures: 0,
      retryAt: -Infinity,
      briefStreams: 0,
    },
  };
}

/** Pause in milliseconds after this many previous failures: 0.2 s, 0.4 s, … capped. */
export function pause({ firstRetryMs, maxRetryMs }: Timing, failuresBefore: number): number {
  return Math.min(firstRetryMs * 2 ** failuresBefore, maxRetryMs);
}

/**
 * Our socket was replaced or removed, so its registration is void. A call in progress continues and dials the new one.
 */
export function withoutServer(state: State): State {
  return state.stage.kind === "announced" ? { ...state, stage: { kind: "unregistered" } } : state;
}

/** Resets the backoff of earlier failures. */
export function withoutBackoff(state: State): State {
  return { ...state, history: { ...state.history, failures: 0, retryAt: -Infinity, briefStreams: 0 } };
}
