/**
 * Turns of the event loop: long work checks the clock and lets other work go first, so that it blocks nothing.
 *
 * @module
 */

import { setImmediate } from "node:timers/promises";

/** The longest turn of a scan, in milliseconds; an Allocate that comes meanwhile waits for no longer. */
const TURN_MS = 5;

/** One piece of work that takes several turns. */
export class Turn {
  #since = performance.now();

  /** Whether the turn has lasted long enough: then `await next()`. Asked often, so that it costs no promise. */
  get isOver(): boolean {
    return performance.now() - this.#since > TURN_MS;
  }

  /** Resolves in the next turn, after all that waits in this one. */
  async next(): Promise<void> {
    await setImmediate();
    this.#since = performance.now();
  }
}
