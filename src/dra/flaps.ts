/**
 * Links that go up and down again and again: each change of a taint is a write to the API server and wakes the scheduler,
 * so a device that has been down several times has to be up for a while before its taint goes. Going down counts at once.
 *
 * @module
 */

/** Times that a device went down are counted over so many milliseconds. */
const WINDOW_MS = 600_000;
/** So many cost nothing. */
const FREE = 2;
const FIRST_HOLD_MS = 30_000;

interface Link {
  healthy: boolean;
  /** When it went down, oldest first. */
  downs: readonly number[];
  upSince: number;
}

/** What follows from one scan of the devices. */
export interface Held {
  /** Healthy devices whose taint stays for now, with the number of times they went down lately. */
  readonly names: ReadonlyMap<string, number>;
  /** When the next one of them is let go; null when there is none. */
  readonly wakeAt: number | null;
}

/** The memory of one process. */
export class FlapMemory {
  readonly #links = new Map<string, Link>();

  /** @param now milliseconds of a monotonic clock */
  update(devices: readonly { readonly name: string; readonly healthy: boolean }[], now: number): Held {
    const names = new Map<string, number>();
    let wakeAt: number | null = null;
    const there = new Set(devices.map((one) => one.name));
    for (const name of this.#links.keys()) if (!there.has(name)) this.#links.delete(name);
    for (const { name, healthy } of devices) {
      const link = this.#links.get(name) ?? { healthy, downs: [], upSince: -Infinity };
      this.#links.set(name, link);
      if (link.healthy && !healthy) link.downs = [...link.downs, now];
      if (!link.healthy && healthy) link.upSince = now;
      link.healthy = healthy;
      link.downs = link.downs.filter((at) => now - at < WINDOW_MS);
      if (!healthy) continue;
      const until = link.upSince + holdMs(link.downs.length);
      if (until <= now) continue;
      names.set(name, link.downs.length);
      wakeAt = Math.min(wakeAt ?? Infinity, until);
    }
    return { names, wakeAt };
  }
}

/** How long a device has to be up before its taint goes. */
export function holdMs(downs: number): number {
  return downs <= FREE ? 0 : Math.min(WINDOW_MS, FIRST_HOLD_MS * 2 ** (downs - FREE - 1));
}
