/**
 * When to scan the machine: triggers in, snapshots out. Triggers that arrive together make one scan, a scan never
 * overlaps another, and what a trigger said is forgotten once the scan is made.
 *
 * @module
 */
import type { Discovery } from "../hca/discover.ts";
import { type Depth, type Trigger, trigger as makeTrigger } from "../hca/events/trigger.ts";
import type { Snapshot } from "../hca/types.ts";

/** One scan that was made. */
export interface Scan {
  readonly snapshot: Snapshot;
  /** What led to it, oldest first; never empty. */
  readonly triggers: readonly Trigger[];
  readonly depth: Depth;
  /** Seconds that reading took. */
  readonly seconds: number;
}

export interface RescanLoopOptions {
  readonly discovery: Discovery;
  readonly onScan: (scan: Scan) => void;
  /** A scan, or what was made of it, failed. It is tried again soon, and by every trigger. */
  readonly onError?: (error: unknown) => void;
  /** Milliseconds between timer scans; 0 switches the timer off. */
  readonly rescanMs: number;
  /** How long full scans that events ask for are collected, in milliseconds. */
  readonly collectMs?: number;
  /** How long after an event that has to settle a second scan is made, in milliseconds. */
  readonly settleMs?: number;
}

/** Every so many timer scans one reads everything: GID tables and PCI attributes send no event of their own. */
const FULL_EVERY = 10;

/** After a failed scan: 1 s, 2 s, 4 s, … and then this, in milliseconds. */
const LONGEST_RETRY_MS = 30_000;
/** After so many milliseconds without one it starts at 1 s again: what fails every other time is no storm. */
const FORGOTTEN_MS = 60_000;

/** The loop. It runs from construction until {@link RescanLoop.close}. */
export class RescanLoop {
  readonly #options: RescanLoopOptions;
  readonly #collectMs: number;
  #waiting: Trigger[] = [];
  #full = false;
  #running: Promise<void> | null = null;
  #timer: ReturnType<typeof setTimeout> | undefined;
  #collect: ReturnType<typeof setTimeout> | undefined;
  #second: ReturnType<typeof setTimeout> | undefined;
  #retry: ReturnType<typeof setTimeout> | undefined;
  /** Scans that failed lately, and when the last one did. */
  #failures = 0;
  #failedAt = 0;
  #timerScans = 0;
  #rescanMs: number;
  #closed = false;

  constructor(options: RescanLoopOptions) {
    this.#options = options;
    this.#collectMs = options.collectMs ?? 1_000;
    this.#rescanMs = options.rescanMs;
    this.#schedule();
  }

  /**
   * Asks for a scan. A quick one starts at once (or follows the running one), and so does a full one that is wanted now;
   * a full one that is to be collected waits a little, preceded by a quick scan at once.
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

  /** A scan that begins after this call; resolves when its result has been handed on. */
  async now(source: string, detail: string): Promise<void> {
    await this.#running;
    this.trigger(makeTrigger(source, detail));
    await this.#running;
  }

  /** Milliseconds between timer scans; 0 when there are none. */
  get rescanMs(): number {
    return this.#rescanMs;
  }

  /** Sets the time between timer scans; the next one is that far away then. */
  setRescan(ms: number): void {
    if (ms === this.#rescanMs || this.#closed) return;
    this.#rescanMs = ms;
    clearTimeout(this.#timer);
    this.#schedule();
  }

  /** Stops the timers and waits for a scan under way. */
  async close(): Promise<void> {
    this.#closed = true;
    clearTimeout(this.#timer);
    clearTimeout(this.#collect);
    clearTimeout(this.#second);
    clearTimeout(this.#retry);
    await this.#running;
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
          if (!this.#closed) this.#options.onScan({ snapshot, triggers, depth, seconds });
        } catch (error) {
          // A plugin that dies of an odd host takes every resource of the node with it.
          this.#options.onError?.(error);
          this.#tryAgain(depth);
        }
      }
    } finally {
      this.#running = null;
    }
  }

  /** What made a scan fail may be over without an event: files that were all in use, for one. */
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

  /** A scan at once is right almost always, and one shortly after the last such event always. */
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
      // The event's own scan has been made; this one only reads what that one left out.
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
