/**
 * What a session is given, and what can be seen of it.
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
  readonly reason: string | null;
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
  readonly maxRetryMs: number;
  /** How long after a registration the kubelet may take to open its stream. */
  readonly streamTimeoutMs: number;
  /** How often to check on a kubelet, or another plugin, whose coming or going may cause no event. */
  readonly pollMs: number;
  /** How long calls in flight may take at the end. */
  readonly drainTimeoutMs: number;
  /** How long the kubelet may go on following the list of a server that has been replaced. */
  readonly handOverTimeoutMs: number;
  /** How often our own socket is probed. */
  readonly probeIntervalMs: number;
  /** How long our socket may take to answer a probe. */
  readonly probeTimeoutMs: number;
}

/** What holds outside tests. */
export const TIMING: Timing = {
  firstRetryMs: 200,
  maxRetryMs: 15_000,
  streamTimeoutMs: 10_000,
  pollMs: 1_000,
  drainTimeoutMs: 1_500,
  handOverTimeoutMs: 10_000,
  probeIntervalMs: 60_000,
  probeTimeoutMs: 2_000,
};
