/**
 * Links that go up and down again and again: what is reported of them to Kubernetes stands still while they do.
 *
 * @module
 */
import type { NodeView } from "./view.ts";

/** Times that a device went down are counted over so many milliseconds. */
const WINDOW_MS = 600_000;
/** So many within that time are flapping. */
const DOWNS = 3;
/** A device that has not changed for so long does not flap any more. */
export const CALM_MS = 30_000;

interface Memory {
  healthy: boolean;
  /** When it went down, oldest first. */
  downs: readonly number[];
  changedAt: number;
}

export interface Flapping {
  /** Keys of devices that flap. */
  readonly keys: ReadonlySet<string>;
  /** When the next one of them is calm (clock of `now`, ms); null when none flaps. */
  readonly wakeAt: number | null;
}

/** The memory of one process, for the devices that there are. */
export class FlappingMemory {
  readonly #devices = new Map<string, Memory>();
  readonly #calmMs: number;

  constructor(calmMs = CALM_MS) {
    this.#calmMs = calmMs;
  }

  /** @param now milliseconds of a monotonic clock */
  update({ devices }: NodeView, now: number): Flapping {
    const keys = new Set<string>();
    let wakeAt: number | null = null;
    for (const key of this.#devices.keys()) if (!devices.has(key)) this.#devices.delete(key);
    for (const [key, { healthy }] of devices) {
      const memory = this.#devices.get(key) ?? { healthy, downs: [], changedAt: -Infinity };
      this.#devices.set(key, memory);
      if (memory.healthy !== healthy) memory.changedAt = now;
      if (memory.healthy && !healthy) memory.downs = [...memory.downs, now].slice(-DOWNS);
      memory.healthy = healthy;
      const [first] = memory.downs;
      const calmAt = memory.changedAt + this.#calmMs;
      if (memory.downs.length < DOWNS || now - first! > WINDOW_MS || calmAt <= now) continue;
      keys.add(key);
      wakeAt = Math.min(wakeAt ?? Infinity, calmAt);
    }
    return { keys, wakeAt };
  }
}
