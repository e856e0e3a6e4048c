/**
 * Damps flapping links: each change of a taint is a write to the API server and wakes the scheduler, so a device that
 * went down several times must stay up for a while before its taint is removed. A link that goes down is tainted at
 * once.
 *
 * @module
 */

/** Period over which a device's link failures are counted, in milliseconds. */
const WINDOW_MS = 600_000;
/** Link failures without a penalty. */
const FREE = 2;
const FIRST_HOLD_MS = 30_000;

interface Link {
  healthy: boolean;
  /** When it went down, oldest first. */
  downs: readonly number[];
  upSince: number;
}

/** The result for one scan. */
export interface Held {
  /** Healthy devices that keep their taint for now, with their number of recent failures. */
  readonly names: ReadonlyMap<string, number>;
  /** Time at which the next of them loses its taint; null for none. */
  readonly wakeAt: number | null;
}

/** The link failures seen by this process. */
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

/** How long a device must be up before its taint is removed, in milliseconds. */
export function holdMs(downs: number): number {
  return downs <= FREE ? 0 : Math.min(WINDOW_MS, FIRST_HOLD_MS * 2 ** (downs - FREE - 1));
}
