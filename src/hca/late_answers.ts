/**
 * Waits for answers of firmware and drivers no longer than a deadline, and knows which are still to come: what has not
 * answered is not asked again, because each question holds a thread until it is answered.
 *
 * @module
 */
import type { Hca } from "./types.ts";

/** A question: to whom, and what it is a part of. */
export interface Asked {
  /** Tells questions apart. */
  readonly key: string;
  /** What hangs as a whole: an adapter, whose functions have one firmware. */
  readonly group: string;
  /** For people: "mlx5_0". */
  readonly name: string;
}

/** The question about an HCA's ports. The functions of an adapter, and the VFs of one, have one firmware. */
export function aboutPorts({ name, pci }: Pick<Hca, "name" | "pci">, incarnation: string): Asked {
  return { key: incarnation, group: (pci?.physfn ?? pci?.address ?? name).replace(/\.\d$/, ""), name };
}

/** So many of a group that do not answer are the whole group: no more of it is asked until one of them answers. */
const MOST_OF_A_GROUP = 8;

/** Questions that have not been answered in time. */
export class LateAnswers {
  /** Groups by key. */
  readonly #pending = new Map<string, string>();
  readonly #onLate: (name: string) => void;

  /** @param onLate called when an answer has come after its deadline, with the name that it was asked under */
  constructor(onLate: (name: string) => void) {
    this.#onLate = onLate;
  }

  /** Whether any answer is still to come. */
  get hasPending(): boolean {
    return this.#pending.size > 0;
  }

  /** Whether it has not answered, or so many of its group have not that it would not, either. */
  isPending({ key, group }: Pick<Asked, "key" | "group">): boolean {
    if (this.#pending.size === 0) return false;
    if (this.#pending.has(key)) return true;
    let others = 0;
    for (const one of this.#pending.values()) if (one === group) others++;
    return others >= MOST_OF_A_GROUP;
  }

  /**
   * The answer, or null when the deadline comes first.
   *
   * @throws what the answer is rejected with, before the deadline
   */
  async inTime<T>({ key, group, name }: Asked, answer: Promise<T>, deadline: Promise<null>): Promise<T | null> {
    const first = await Promise.race([answer, deadline]);
    if (first === null) {
      this.#pending.set(key, group);
      const late = () => {
        this.#pending.delete(key);
        this.#onLate(name);
      };
      void answer.then(late, late);
    }
    return first;
  }
}
