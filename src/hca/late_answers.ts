/**
 * Waits for answers of firmware and drivers no longer than a deadline, and knows which are still to come: what has not
 * answered is not asked again, because each question holds a thread until it is answered.
 *
 * @module
 */

/** Questions that have not been answered, by a key of the asker's. */
export class LateAnswers {
  readonly #pending = new Set<string>();
  readonly #onLate: (name: string) => void;

  /** @param onLate called when an answer has come after its deadline, with the name that it was asked under */
  constructor(onLate: (name: string) => void) {
    this.#onLate = onLate;
  }

  /** Whether an answer is still to come: for this key, or for any. */
  isPending(key?: string): boolean {
    return key === undefined ? this.#pending.size > 0 : this.#pending.has(key);
  }

  /**
   * The answer, or null when the deadline comes first.
   *
   * @param name for people: "mlx5_0"
   * @throws what the answer is rejected with, before the deadline
   */
  async inTime<T>(key: string, name: string, answer: Promise<T>, deadline: Promise<null>): Promise<T | null> {
    const first = await Promise.race([answer, deadline]);
    if (first === null) {
      this.#pending.add(key);
      const late = () => {
        this.#pending.delete(key);
        this.#onLate(name);
      };
      void answer.then(late, late);
    }
    return first;
  }
}
