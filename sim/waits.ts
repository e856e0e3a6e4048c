/**
 * Waits for a condition without polling: it is checked now, and again after everything that happens.
 *
 * @module
 */

/** What a wait is for: a phrase, or the whole message of its error, made when it fails. */
export type Wanted = string | ((reason: string) => string);

export class Waits {
  readonly #open = new Set<{ readonly check: () => void; readonly fail: (reason: string) => void }>();
  /** Why nothing more happens; null while something may. */
  #over: string | null = null;

  /** Something has happened: every condition is checked again. */
  readonly changed = (): void => {
    for (const one of [...this.#open]) one.check();
  };

  /** Nothing more will happen, for this reason: fails the pending waits, and later ones whose condition does not hold. */
  end(reason: string): void {
    this.#over = reason;
    for (const one of [...this.#open]) one.fail(reason);
  }

  /**
   * Resolves with the first truthy value of `probe`; rejects with what it throws.
   *
   * @param timeoutMs enough on a machine that is busy with other work
   * @throws Error with what was waited for and the reason, after `timeoutMs` or {@link end}
   */
  until<T>(probe: () => T | false | null | undefined, wanted: Wanted, timeoutMs = 60_000): Promise<T> {
    const { promise, resolve, reject } = Promise.withResolvers<T>();
    const settle = (how: () => void) => {
      clearTimeout(timer);
      this.#open.delete(wait);
      how();
    };
    const message = (reason: string) => typeof wanted === "string" ? `Cannot see ${wanted}: ${reason}` : wanted(reason);
    const wait = {
      check: () => {
        try {
          const found = probe();
          if (found) settle(() => resolve(found));
        } catch (cause) {
          settle(() => reject(cause));
        }
      },
      fail: (reason: string) => settle(() => reject(new Error(message(reason)))),
    };
    const timer = setTimeout(() => wait.fail(`waited ${timeoutMs} ms`), timeoutMs);
    this.#open.add(wait);
    wait.check();
    if (this.#over !== null && this.#open.has(wait)) wait.fail(this.#over);
    return promise;
  }
}
