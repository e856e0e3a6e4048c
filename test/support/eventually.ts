/**
 * Waits for something that no event tells of, such as another process' open files.
 *
 * @module
 */
import { setTimeout as delay } from "node:timers/promises";

/**
 * The first value of `probe` that is neither undefined, null nor false; it is called every 20 ms, or every `everyMs`.
 *
 * @param what in the error's message, made when it fails
 * @throws Error that names `what` after `timeoutMs`
 */
export async function eventually<T>(
  probe: () => T | undefined | null | false | Promise<T | undefined | null | false>,
  what: string | (() => string),
  { timeoutMs = 60_000, everyMs = 20 } = {},
): Promise<T> {
  const deadline = performance.now() + timeoutMs;
  for (;;) {
    const found = await probe();
    if (found !== undefined && found !== null && found !== false) return found;
    if (performance.now() > deadline) {
      throw new Error(`Waited ${timeoutMs} ms for ${typeof what === "string" ? what : what()}`);
    }
    await delay(everyMs);
  }
}
