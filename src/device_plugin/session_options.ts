/**
 * What a session is told, and what can be seen of it.
 *
 * @module
 */
import type { ServerEvents } from "./server.ts";

/** How to become known to the kubelet. `auto`: by the plugin watcher where its directory exists, else by Register. */
export type RegistrationMode = "auto" | "socket" | "watcher";

/** Where a session stands. */
export type Phase =
  /** The kubelet is not there. */
  | "waiting"
  /** Serving; registration is under way or being retried. */
  | "registering"
  /** Registered, and the kubelet follows the list. */
  | "registered"
  /** Another process serves this resource on our path; it is left alone. */
  | "standby"
  | "stopped";

/** What can be seen of a session from outside. */
export interface SessionStatus {
  readonly resource: string;
  readonly phase: Phase;
  readonly via: "socket" | "watcher";
  readonly socket: string;
  /** Open ListAndWatch streams. */
  readonly streams: number;
  /** Registrations that the kubelet accepted since the start. */
  readonly registrations: number;
  /** Why it is not registered; null when it is. */
  readonly trouble: string | null;
}

/** One line for the log. */
export interface SessionNote {
  readonly level: "debug" | "info" | "warn" | "error";
  readonly message: string;
}

export interface SessionOptions {
  readonly kubeletDir: string;
  readonly registryDir: string;
  readonly mode: RegistrationMode;
  readonly note: (note: SessionNote) => void;
  readonly onStatus: (status: SessionStatus) => void;
  readonly events: Omit<ServerEvents, "onStreams">;
  /** Milliseconds; tests shorten them. */
  readonly timing?: Partial<Timing>;
}

export interface Timing {
  readonly firstRetryMs: number;
  readonly longestRetryMs: number;
  /** How long after a registration the kubelet may take to open its stream. */
  readonly streamMs: number;
  /** How often to look for a kubelet that is not there: its directory may be another one now, of which no event tells. */
  readonly absentMs: number;
  /** How long calls in flight may take at the end. */
  readonly drainMs: number;
  /** How long a kubelet may go on following our list when another socket has our place. */
  readonly handOverMs: number;
  /** How often our own socket is dialled, to see whether it is answered. */
  readonly proofMs: number;
  /** How long our socket may take to answer. */
  readonly answerMs: number;
}

/** What holds unless a test is in a hurry. */
export const TIMING: Timing = {
  firstRetryMs: 200,
  longestRetryMs: 15_000,
  streamMs: 10_000,
  absentMs: 1_000,
  drainMs: 1_500,
  handOverMs: 10_000,
  proofMs: 60_000,
  answerMs: 2_000,
};
