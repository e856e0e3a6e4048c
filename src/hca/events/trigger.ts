/**
 * The reasons to look at the hardware again. A trigger carries no state, only "look again": losing one costs latency
 * (the timer catches it), never truth.
 *
 * @module
 */

/**
 * How much of the machine to read.
 * `quick`: what can change by itself (ports, nodes, directories). `full`: everything, GID tables and PCI included.
 */
export type Depth = "quick" | "full";

/** One reason to look again. */
export interface Trigger {
  /** Which source speaks: "uevent", "link", "timer", "SIGHUP", "overrun", "file", … ; used in logs and metrics. */
  readonly source: string;
  readonly depth: Depth;
  /** For people: "remove mlx5_0", "eth1 down". */
  readonly detail: string;
  /** `performance.now()` when the event was read. */
  readonly at: number;
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
