/**
 * A limit on how often something is done: some at once, then one in a while.
 *
 * @module
 */

/** A bucket of tokens. Times in milliseconds of one clock. */
export class Budget {
  readonly #most: number;
  readonly #perMs: number;
  #tokens: number;
  #at = -Infinity;

  /**
   * @param most how many may be done at once
   * @param perMs after how many milliseconds there is one more
   */
  constructor(most: number, perMs: number) {
    this.#most = most;
    this.#perMs = perMs;
    this.#tokens = most;
  }

  /** Takes one. @returns null when there was one, else when there will be */
  take(now: number): number | null {
    this.#tokens = Math.min(this.#most, this.#tokens + (now - this.#at) / this.#perMs);
    this.#at = now;
    if (this.#tokens < 1) return now + (1 - this.#tokens) * this.#perMs;
    this.#tokens--;
    return null;
  }
}
