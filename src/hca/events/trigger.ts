/**
 * The reasons to scan the hardware again. A trigger carries no state, only "scan again": losing one costs latency (the
 * timer catches it), never truth.
 *
 * @module
 */

/**
 * How much of the machine to read.
 * `quick`: what can change by itself (ports, nodes, directories). `full`: everything, GID tables and PCI included.
 */
export type Depth = "quick" | "full";

/**
 * When a full scan is made. `now`: at once. `collect`: a quick scan at once and the full one a little later, for events
 * that come in bursts. A quick scan is always made at once.
 */
export type Urgency = "now" | "collect";

/** One reason to scan again. */
export interface Trigger {
  /** Where it comes from: "uevent", "link", "timer", "SIGHUP", "overrun", "file", … ; a label for logs and metrics. */
  readonly source: string;
  readonly depth: Depth;
  readonly urgency: Urgency;
  /**
   * Whether the event can be ahead of the state that it announces, so that a second scan is needed once it has settled:
   * the kernel announces a link before it tells RoCE, which then changes the RDMA port.
   */
  readonly settle: boolean;
  /** For people: "remove mlx5_0", "eth1 down". */
  readonly detail: string;
  /** `performance.now()` when the event was read. */
  readonly at: number;
}

/** A trigger of this moment: for a quick scan, with nothing to settle, unless `how` says otherwise. */
export function trigger(
  source: string,
  detail: string,
  how: Partial<Pick<Trigger, "depth" | "urgency" | "settle">> = {},
): Trigger {
  return { source, depth: "quick", urgency: "now", settle: false, ...how, detail, at: performance.now() };
}

/**
 * Something that notices changes of the hardware by itself.
 *
 * `run` calls `emit` until `signal` aborts, then frees everything it opened and resolves. It rejects only when it
 * cannot work at all (no permission, no such file); the caller then relies on the timer and says so once.
 */
export interface EventSource {
  readonly name: string;
  run(emit: (trigger: Trigger) => void, signal: AbortSignal): Promise<void>;
}
