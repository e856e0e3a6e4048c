/**
 * Reasons to scan the hardware again. A trigger carries no state: a lost one costs latency, since the timer scans
 * anyway, but never correctness.
 *
 * @module
 */

import type { LinkLayer } from "../types.ts";

/**
 * What to read. `quick`: what changes by itself (ports, nodes, directories). `full`: everything, GID tables and PCI
 * included.
 */
export type Depth = "quick" | "full";

/**
 * When to make a full scan. `now`: at once. `collect`: a quick scan at once and the full scan a little later, for
 * events that come in bursts. A quick scan is always made at once.
 */
export type Urgency = "now" | "collect";

/** A reason to scan again. */
export interface Trigger {
  /** The origin, used as a label in logs and metrics: "uevent", "link", "timer", "SIGHUP", "overrun", "file", … */
  readonly source: string;
  readonly depth: Depth;
  readonly urgency: Urgency;
  /**
   * Whether the event can precede the state change that it announces, so that a second scan is needed later: the kernel
   * announces a link before it notifies RoCE, which then changes the RDMA port.
   */
  readonly settle: boolean;
  /** A description for logs: "remove mlx5_0", "eth1 down". */
  readonly detail: string;
  /** `performance.now()` when the event was read. */
  readonly at: number;
}

/** Creates a trigger with the current time. The default is a quick scan without settling. */
export function trigger(
  source: string,
  detail: string,
  how: Partial<Pick<Trigger, "depth" | "urgency" | "settle">> = {},
): Trigger {
  return { source, depth: "quick", urgency: "now", settle: false, ...how, detail, at: performance.now() };
}

/** A port, as far as events about its state go. */
export interface WatchedPort {
  readonly linkLayer: LinkLayer;
  /** Its net devices as the host has them. */
  readonly links: readonly HostLink[];
}

/** A net device as sysfs has it: of the network namespace in which that sysfs was mounted. */
export interface HostLink {
  readonly name: string;
  readonly index: number | null;
  /** Hardware address, "b8:3f:d2:00:00:01". */
  readonly address: string | null;
}

/**
 * A source of hardware change events.
 *
 * `run` calls `emit` until `signal` aborts, then frees everything it opened and resolves. It rejects only when it
 * cannot work at all (no permission, no such file); the caller then relies on the timer and logs that once.
 */
export interface EventSource {
  readonly name: string;
  /**
   * Whether it currently reports every change of the state of these ports. States that no source covers are
   * polled. A source without it covers none.
   */
  readonly covers?: (ports: readonly WatchedPort[]) => boolean;
  run(emit: (trigger: Trigger) => void, signal: AbortSignal): Promise<void>;
}
