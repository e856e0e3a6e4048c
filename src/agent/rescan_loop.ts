/**
 * Decides when to scan the machine: triggers in, snapshots out. Simultaneous triggers cause one scan, scans never
 * overlap, and triggers are dropped after the scan.
 *
 * @module
 */
import type { Discovery } from "../hca/discover.ts";
import { type Depth, type Trigger, trigger as makeTrigger } from "../hca/events/trigger.ts";
import type { Snapshot } from "../hca/types.ts";
import { PortPoll, type PortPollOptions } from "./port_poll.ts";

/** One completed scan. */
export interface Scan {
  readonly snapshot: Snapshot;
  /** Its triggers, oldest first; never empty. */
  readonly triggers: readonly Trigger[];
  readonly depth: Depth;
  /** Duration of reading, in seconds. */
  readonly seconds: number;
}

export interface RescanLoopOptions {
  readonly discovery: Discovery;
  readonly onScan: (scan: Scan) => void;
  /** Called when a scan or its processing failed. It is retried soon, and by every trigger. */
  readonly onError?: (error: unknown) => void;
  /** Milliseconds between timer scans; 0 disables the timer. */
  readonly rescanMs: number;
  /** Polls between the timer's scans; without it there are none. */
  readonly poll?: PortPollOptions;
  /** How long full scans requested by events are collected, in milliseconds. */
  readonly collectMs?: number;
  /** Delay of the second scan after an event that has to settle, in milliseconds. */
  readonly settleMs?: number;
}

/** Every tenth timer scan is a full one: GID tables and PCI attributes cause no events. */
const FULL_EVERY = 10;

/** Maximum pause after failed scans (1 s, 2 s, 4 s, …), in milliseconds. */
const LONGEST_RETRY_MS = 30_000;
/** After this time (ms) without a failure the pause starts at 1 s again. */
const FORGOTTEN_MS = 60_000;

/** The loop. It runs from construction until {@link RescanLoop.close}. */
export class RescanLoop {
  readonly #options: RescanLoopOptions;
  readonly #collectMs: number;
  readonly #poll: PortPoll | null;
  #waiting: Trigger[] = [];
  #full = false;
  #running: Promise<void> | null = null;
  #timer: ReturnType<typeof setTimeout> | undefined;
  #collect: ReturnType<typeof setTimeout> | undefined;
  #second: ReturnType<typeof setTimeout> | undefined;
  #retry: ReturnType<typeof setTimeout> | undefined;
  /** Number of recent failures, and the time of the last one. */
  #failures = 0;
  #failedAt = 0;
  #timerScans = 0;
  #rescanMs: number;
  #closed = false;

  constructor(options: RescanLoopOptions) {
    this.#options = options;
    this.#collectMs = options.collectMs ?? 1_000;
    this.#rescanMs = options.rescanMs;
    this.#poll = options.poll === undefined ? null : new PortPoll(
      options.poll,
      () => this.#rescanMs,
      (what) => this.trigger(makeTrigger("poll", what)),
    );
    this.#schedule();
  }

  /**
   * Requests a scan. A quick scan starts at once (or after the running one), as does a full scan with urgency `now`.
   * With urgency `collect` a quick scan starts at once and the full one a little later.
   */
  trigger(trigger: Trigger): void {
    if (this.#closed) return;
    this.#waiting.push(trigger);
    if (trigger.depth === "full") {
      if (trigger.urgency === "now") this.#full = true;
      else this.#collectFull(trigger);
    }
    if (trigger.settle) this.#scanWhenSettled(trigger);
    this.#running ??= this.#work();
  }

  /** Requests a scan that starts after this call; resolves when its result has been processed. */
  async now(source: string, detail: string): Promise<void> {
    await this.#running;
    this.trigger(makeTrigger(source, detail));
    await this.#running;
  }

  /** Milliseconds between timer scans; 0 when there are none. */
  get rescanMs(): number {
    return this.#rescanMs;
  }

  /** Milliseconds between polls, which read port states only; null when there are none. */
  get pollMs(): number | null {
    return this.#poll?.intervalMs ?? null;
  }

  /** Sets the interval of timer scans and restarts the timer. */
  setRescan(ms: number): void {
    if (ms === this.#rescanMs || this.#closed) return;
    this.#rescanMs = ms;
    clearTimeout(this.#timer);
    this.#schedule();
  }

  /** Stops the timers and waits for a running scan. */
  async close(): Promise<void> {
    this.#closed = true;
    clearTimeout(this.#timer);
    clearTimeout(this.#collect);
    clearTimeout(this.#second);
    clearTimeout(this.#retry);
    await Promise.all([this.#running, this.#poll?.close()]);
  }

  async #work(): Promise<void> {
    try {
      while (this.#waiting.length > 0 && !this.#closed) {
        const triggers = this.#waiting;
        const depth: Depth = this.#full ? "full" : "quick";
        this.#waiting = [];
        this.#full = false;
        try {
          const start = performance.now();
          const snapshot = await this.#options.discovery.scan(depth);
          const seconds = (performance.now() - start) / 1e3;
          if (this.#closed) continue;
          this.#options.onScan({ snapshot, triggers, depth, seconds });
          this.#poll?.scanned(snapshot);
        } catch (error) {
          // Exiting because of an odd host would remove all resources from the node.
          this.#options.onError?.(error);
          this.#tryAgain(depth);
        }
      }
    } finally {
      this.#running = null;
    }
  }

  /** The cause of a failure can end without an event, for example when other files are closed. */
  #tryAgain(depth: Depth): void {
    if (this.#closed) return;
    clearTimeout(this.#retry);
    const now = performance.now();
    if (now - this.#failedAt > FORGOTTEN_MS) this.#failures = 0;
    this.#failedAt = now;
    const delay = Math.min(1_000 * 2 ** this.#failures++, LONGEST_RETRY_MS);
    this.#retry = setTimeout(() => {
      if (depth === "full") this.#full = true;
      this.trigger(makeTrigger("retry", "the last scan failed"));
    }, delay);
  }

  /**
   * Scans once more after the event's changes have settled: the first scan is almost always right, the second always.
   */
  #scanWhenSettled({ source }: Trigger): void {
    clearTimeout(this.#second);
    this.#second = setTimeout(
      () => this.trigger(makeTrigger(`${source} again`, `after ${source} events`)),
      this.#options.settleMs ?? 200,
    );
  }

  #collectFull({ source, detail }: Trigger): void {
    if (this.#collect !== undefined) return;
    this.#collect = setTimeout(() => {
      this.#collect = undefined;
      // The event's own scan was quick; this one reads the rest.
      this.trigger(makeTrigger(source, `${detail} (everything)`, { depth: "full" }));
    }, this.#collectMs);
  }

  #schedule(): void {
    if (this.#rescanMs === 0) return;
    this.#timer = setTimeout(() => {
      this.#timerScans++;
      if (this.#timerScans % FULL_EVERY === 0) this.#full = true;
      this.trigger(makeTrigger("timer", "the rescan interval is over"));
      this.#schedule();
    }, this.#rescanMs);
  }
}
