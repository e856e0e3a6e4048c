/**
 * Polls between scans: a few cheap questions about names and port states, as often as they may cost, where no event
 * reports ports. A poll changes and logs nothing; a difference that it finds causes a scan.
 *
 * @module
 */
import { cpuUsage } from "node:process";
import type { Discovery } from "../hca/discover.ts";
import { coveredBy } from "../hca/events/coverage.ts";
import type { EventSource } from "../hca/events/trigger.ts";
import type { Snapshot } from "../hca/types.ts";
import { averageCost, expectedCost, type PollCost, pollInterval } from "./poll_interval.ts";

export interface PortPollOptions {
  /** What differs from the last scan, for people; null for nothing. */
  readonly poll: () => Promise<string | null>;
  /** Whether events tell of every port of the snapshot. */
  readonly eventsLive: (snapshot: Snapshot) => boolean;
}

/** Polls of a machine, where these sources do not tell of its ports. */
export function pollOf(discovery: Discovery, sources: readonly EventSource[], sysfsRoot: string): PortPollOptions {
  return {
    poll: () => discovery.poll(),
    eventsLive: ({ hcas }) => coveredBy(sources, hcas, sysfsRoot),
  };
}

/** For so long a judgement about events holds while the machine stays as it is: a source may end. Milliseconds. */
const JUDGED_FOR_MS = 10_000;

/** The polls of one loop. The first is made after the first scan. */
export class PortPoll {
  readonly #options: PortPollOptions;
  readonly #onChange: (what: string) => void;
  readonly #rescanMs: () => number;
  #timer: ReturnType<typeof setTimeout> | undefined;
  #running: Promise<void> | null = null;
  #cost: PollCost | null = null;
  #hcas = 0;
  #last: Snapshot | null = null;
  #judgedAt = 0;
  #eventsLive = true;
  #closed = false;

  constructor(options: PortPollOptions, rescanMs: () => number, onChange: (what: string) => void) {
    this.#options = options;
    this.#rescanMs = rescanMs;
    this.#onChange = onChange;
  }

  /** Milliseconds from one poll to the next as things are; null when there are none. */
  get intervalMs(): number | null {
    return pollInterval({
      cost: this.#cost,
      hcas: this.#hcas,
      eventsLive: this.#eventsLive,
      rescanMs: this.#rescanMs(),
    });
  }

  /** Takes notice of a scan: of how many HCAs there are, and of whether events tell of them. */
  scanned(snapshot: Snapshot): void {
    if (this.#closed) return;
    if (snapshot.hcas.length !== this.#hcas) this.#cost = null;
    const now = performance.now();
    if (snapshot !== this.#last || now - this.#judgedAt > JUDGED_FOR_MS) {
      this.#eventsLive = this.#options.eventsLive(snapshot);
      this.#judgedAt = now;
    }
    this.#hcas = snapshot.hcas.length;
    this.#last = snapshot;
    if (this.#timer === undefined && this.#running === null) this.#schedule();
  }

  /** Ends them, and waits for the one under way. */
  async close(): Promise<void> {
    this.#closed = true;
    clearTimeout(this.#timer);
    await this.#running;
  }

  #schedule(): void {
    const ms = this.#closed ? null : this.intervalMs;
    if (ms === null) return;
    this.#timer = setTimeout(() => {
      this.#timer = undefined;
      if (this.intervalMs === null) return; // set to never meanwhile
      this.#running = this.#poll().finally(() => {
        this.#running = null;
        this.#schedule();
      });
    }, ms);
  }

  async #poll(): Promise<void> {
    const [cpu, start] = [cpuUsage(), performance.now()];
    let change: string | null;
    try {
      change = await this.#options.poll();
    } catch {
      return; // what fails a poll fails the next scan as well, which is logged and retried
    }
    const { user, system } = cpuUsage(cpu);
    const now = { cpuMs: (user + system) / 1e3, elapsedMs: performance.now() - start };
    this.#cost = averageCost(this.#cost ?? expectedCost(this.#hcas), now);
    if (change !== null && !this.#closed) this.#onChange(change);
  }
}
