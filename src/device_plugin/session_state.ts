/**
 * What a session remembers between two steps, and the actions that a step can ask for.
 *
 * @module
 */
import type { FileIdentity } from "../kubelet/socket_file.ts";
import type { Mode } from "./session_facts.ts";
import type { Phase, SessionNote, Timing } from "./session_options.ts";

/** Where the registration stands. */
export type Stage =
  /** The kubelet does not know our socket. */
  | { readonly kind: "unregistered" }
  /** A Register call is under way. `superseded`: another registration was asked for after it began. */
  | { readonly kind: "calling"; readonly kubelet: FileIdentity; readonly call: number; readonly superseded: boolean }
  /**
   * The kubelet knows our socket since then: it accepted the call (`kubelet` is its kubelet.sock), or the socket is where
   * its plugin watcher finds it (`kubelet` is null). What is missing, or not, is its stream.
   */
  | { readonly kind: "announced"; readonly kubelet: FileIdentity | null; readonly since: number }
  /** Another process serves our path, and this one has let go of the resource. */
  | { readonly kind: "standby" };

/** What was tried before, which is what pauses depend on. */
export interface History {
  /** The kubelet.sock that was called last: a new one need not wait for the back-off of the old one. */
  readonly kubelet: FileIdentity | null;
  /** Register calls that were begun. */
  readonly calls: number;
  /** Registrations that were accepted, and when the last one was. */
  readonly registrations: number;
  readonly registeredAt: number;
  /** What failed in a row, and when it may be tried again. */
  readonly failures: number;
  readonly retryAt: number;
  /** Streams in a row that the kubelet ended soon after it had registered us. */
  readonly briefStreams: number;
}

export interface State {
  readonly mode: Mode;
  readonly stage: Stage;
  /** What is reported. A reason is logged when it is another one than before. */
  readonly phase: Phase;
  readonly reason: string | null;
  readonly history: History;
}

/** What the executor does next. All but "wait" and "register" are followed by another step when they are done. */
export type Action =
  /** Find out whether a socket is served: our own, another process' at our path, or the kubelet's. */
  | { readonly do: "probe"; readonly target: "server" | "other" | "kubelet"; readonly identity: FileIdentity }
  /** Make a socket and serve on it, in place of the server that there may be. */
  | { readonly do: "listen" }
  /** Let the server go, when its streams have ended or after so many milliseconds. */
  | { readonly do: "release"; readonly lingerMs: number }
  /** Begin a Register call. The kubelet dials back inside it, so steps are made meanwhile. */
  | { readonly do: "register"; readonly call: number }
  /** Nothing is to be done until something changes, or until then. */
  | { readonly do: "wait"; readonly until: number };

/** What a step, or an outcome, leads to. */
export interface Step {
  readonly state: State;
  readonly action: Action;
  readonly notes: readonly SessionNote[];
}

/** How a session begins. */
export function initialState(mode: Mode): State {
  return {
    mode,
    stage: { kind: "unregistered" },
    phase: "waiting",
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

/** Milliseconds to wait after one more than so many failures: 0.2 s, 0.4 s, … capped. */
export function pause({ firstRetryMs, maxRetryMs }: Timing, failuresBefore: number): number {
  return Math.min(firstRetryMs * 2 ** failuresBefore, maxRetryMs);
}

/** Our socket is another one, or none: what was announced is void. A call under way goes on, and dials the new one. */
export function withoutServer(state: State): State {
  return state.stage.kind === "announced" ? { ...state, stage: { kind: "unregistered" } } : state;
}

/** Nothing that went wrong before holds the next try back. */
export function withoutBackoff(state: State): State {
  return { ...state, history: { ...state.history, failures: 0, retryAt: -Infinity, briefStreams: 0 } };
}
