/**
 * Resources that the kubelet has not had for long. A kubelet that restarts, or a plugin that starts, is no news.
 *
 * @module
 */
import type { SessionStatus } from "../device_plugin/session.ts";

export const LATE_MS = 60_000;

export interface Late {
  readonly reasons: ReadonlyMap<string, string>;
  /** When the next resource is late (clock of `now`, ms); null when none waits. */
  readonly wakeAt: number | null;
}

export class Registrations {
  readonly #since = new Map<string, number>();
  readonly #lateMs: number;

  constructor(lateMs = LATE_MS) {
    this.#lateMs = lateMs;
  }

  /** @param now milliseconds of a monotonic clock */
  update(sessions: readonly SessionStatus[], now: number): Late {
    const waiting = sessions.filter(({ phase }) => phase === "waiting" || phase === "registering");
    const names = new Set(waiting.map((one) => one.resource));
    for (const name of this.#since.keys()) if (!names.has(name)) this.#since.delete(name);
    const reasons = new Map<string, string>();
    let wakeAt: number | null = null;
    for (const { resource, reason } of waiting) {
      const since = this.#since.get(resource) ?? now;
      this.#since.set(resource, since);
      const lateAt = since + this.#lateMs;
      if (lateAt <= now) reasons.set(resource, reason ?? "the kubelet has not answered");
      else wakeAt = Math.min(wakeAt ?? Infinity, lateAt);
    }
    return { reasons, wakeAt };
  }
}
