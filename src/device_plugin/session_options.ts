/**
 * Options and status of a session.
 *
 * @module
 */
import type { ServerEvents } from "./server.ts";
import type { SessionCode } from "./session_codes.ts";

/** How to register. `auto`: by the plugin watcher where its directory exists, otherwise by Register. */
export type RegistrationMode = "auto" | "socket" | "watcher";

/** Phase of a session. */
export type Phase =
  /** The kubelet is not running. */
  | "waiting"
  /** Serving; the registration is in progress or will be retried. */
  | "registering"
  /** Registered, and the kubelet has an open ListAndWatch stream. */
  | "registered"
  /** Another process serves this resource on our path, and is left alone. */
  | "standby"
  | "stopped";

/** Status of a session for observers. */
export interface SessionStatus {
  readonly resource: string;
  readonly phase: Phase;
  readonly via: "socket" | "watcher";
  readonly socket: string;
  /** Open ListAndWatch streams. */
  readonly streams: number;
  /** Registrations that the kubelet accepted since the start. */
  readonly registrations: number;
  readonly code: SessionCode;
  /** The reason why it is not registered; null when it is. */
  readonly reason: string | null;
}

/** One line for the log. */
export interface SessionNote {
  readonly level: "debug" | "info" | "warn" | "error";
  readonly code: SessionCode;
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
  /** Time for the kubelet to open its stream after a registration. */
  readonly streamTimeoutMs: number;
  /** Interval of checks on a kubelet or another plugin, whose start and end may cause no event. */
  readonly pollMs: number;
  /** Time for pending calls when the server stops. */
  readonly drainTimeoutMs: number;
  /** Time for the kubelet to keep its stream to a server that has been replaced. */
  readonly handOverTimeoutMs: number;
  /** Interval of probes of our own socket. */
  readonly probeIntervalMs: number;
  /** Time for our socket to answer a probe. */
  readonly probeTimeoutMs: number;
}

/** Defaults. */
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
