/**
 * Events that are to be written, each with its repeats as one series: bounded in number, and written the more rarely the
 * longer a series goes on. Pure but for its memory.
 *
 * @module
 */
import type { ObjectReference } from "../kubernetes/core_api.ts";
import type { Occurrence } from "./occurrences.ts";

/** The same again after so long is a new event, with a time of its own. */
const SERIES_MS = 1_800_000;
/** The API server keeps events for an hour by default (`--event-ttl`): older ones are not written any more. */
const STALE_MS = 3_600_000;
const MOST = 128;
/** Between the first two writes of a series; the pause doubles up to a minute. */
export const FIRST_GAP_MS = 10_000;
const MOST_GAPS = 6;

/** One event with its repeats. Times in milliseconds since the epoch. */
export interface Series {
  readonly occurrence: Occurrence;
  readonly regarding: ObjectReference;
  readonly first: number;
  last: number;
  count: number;
  /** The count that the API server has; 0 before the event is there. */
  written: number;
  /** Name of the event; null before the first try. */
  name: string | null;
  notBefore: number;
  gapMs: number;
}

export class SeriesBook {
  readonly #all = new Map<string, Series>();
  readonly #firstGapMs: number;
  #dropped = 0;

  constructor(firstGapMs = FIRST_GAP_MS) {
    this.#firstGapMs = firstGapMs;
  }

  get size(): number {
    return this.#all.size;
  }

  /** Events that were given up because there were too many, or because they were too old when the server was back. */
  get dropped(): number {
    return this.#dropped;
  }

  record(occurrence: Occurrence, regarding: ObjectReference, now: number): void {
    const { kind, namespace = "", name, uid = "" } = regarding;
    const key = `${kind} ${namespace}/${name} ${uid} ${occurrence.id}`;
    const known = this.#all.get(key);
    if (known !== undefined && now - known.last < SERIES_MS) {
      known.last = now;
      known.count++;
      return;
    }
    // Deleted first, so that the map's order is the order of the last beginnings.
    this.#all.delete(key);
    this.#makeRoom();
    this.#all.set(key, {
      occurrence,
      regarding,
      first: now,
      last: now,
      count: 1,
      written: 0,
      name: null,
      notBefore: now,
      gapMs: this.#firstGapMs,
    });
  }

  /** The next one to write now; null when there is none. */
  due(now: number): Series | null {
    for (const [key, one] of this.#all) {
      if (!isPending(one)) continue;
      if (now - one.last > STALE_MS) {
        this.#all.delete(key);
        this.#dropped++;
      } else if (one.notBefore <= now) return one;
    }
    return null;
  }

  /** When the next one is to be written; null when all are. */
  nextDue(): number | null {
    const times = [...this.#all.values()].filter(isPending).map((one) => one.notBefore);
    return times.length === 0 ? null : Math.min(...times);
  }

  /** The server has this count. */
  written(one: Series, count: number, now: number): void {
    one.written = count;
    one.notBefore = now + one.gapMs;
    one.gapMs = Math.min(this.#firstGapMs * MOST_GAPS, one.gapMs * 2);
  }

  /** The server does not take it. It may take the same in half an hour. */
  refused(one: Series): void {
    one.written = Infinity;
    this.#dropped++;
  }

  #makeRoom(): void {
    if (this.#all.size < MOST) return;
    const written = [...this.#all].find(([, one]) => !isPending(one));
    const [key] = written ?? [...this.#all][0]!;
    if (written === undefined) this.#dropped++;
    this.#all.delete(key);
  }
}

function isPending({ count, written }: Series): boolean {
  return count > written;
}
