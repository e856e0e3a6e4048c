/**
 * Work that nothing waits for until the end: sessions that close, sources of events. What is done is forgotten, so that a
 * plugin that reloads for a year holds no more than one that has just started.
 *
 * @module
 */

/** Promises under way. */
export class Background {
  readonly #running = new Set<Promise<void>>();

  /** How many are under way. */
  get size(): number {
    return this.#running.size;
  }

  /** Takes over a promise that is not supposed to reject; if it does, {@link done} does. */
  add(work: Promise<void>): void {
    this.#running.add(work);
    const forget = () => this.#running.delete(work);
    // A rejection stays for whoever waits in the end.
    work.then(forget, () => {});
  }

  /** Resolves when all that was added is done. */
  async done(): Promise<void> {
    await Promise.all(this.#running);
  }
}
