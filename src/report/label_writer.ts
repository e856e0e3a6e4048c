/**
 * Keeps this project's labels of this node's object, and removes those that do not hold any more, also those of an earlier
 * version.
 *
 * @module
 */
import { Budget } from "./budget.ts";
import type { Labels } from "./labels.ts";
import { LABEL_PREFIX } from "./labels.ts";
import type { Round } from "./lane.ts";
import type { NodeObject } from "./node_object.ts";

const AT_ONCE = 4;
const ONE_MORE_MS = 30_000;

export class LabelWriter {
  readonly #node: NodeObject;
  readonly #budget: Budget;
  #wanted: Labels = {};
  #there: Labels = {};
  #readAt: number | null = null;

  /** @param everyMs how often they may be written when that is often */
  constructor(node: NodeObject, everyMs = ONE_MORE_MS) {
    this.#node = node;
    this.#budget = new Budget(AT_ONCE, everyMs);
  }

  want(wanted: Labels): void {
    this.#wanted = wanted;
  }

  /** One comparison, and the write that follows from it. */
  async work(signal: AbortSignal): Promise<Round> {
    const { age } = this.#node;
    if (this.#readAt !== age) {
      const read = await this.#node.get();
      if (!read.ok) return { error: read.error, wakeAt: null };
      const labels = Object.entries(read.value.metadata.labels ?? {});
      this.#there = Object.fromEntries(labels.filter(([key]) => key.startsWith(LABEL_PREFIX)));
      this.#readAt = age;
    }
    const wanted = this.#wanted;
    const changes = difference(this.#there, wanted);
    if (Object.keys(changes).length === 0) return { error: null, wakeAt: null };
    const wait = this.#budget.take(performance.now());
    if (wait !== null) return { error: null, wakeAt: Date.now() + wait - performance.now() };
    const written = await this.#node.patchMetadata({ labels: changes }, signal);
    if (!written.ok) return { error: written.error, wakeAt: null };
    this.#there = wanted;
    return { error: null, wakeAt: null };
  }
}

/** As a merge patch: null removes. */
export function difference(there: Labels, wanted: Labels): Readonly<Record<string, string | null>> {
  const gone = Object.keys(there).filter((key) => !Object.hasOwn(wanted, key)).map((key) => [key, null] as const);
  return Object.fromEntries([...gone, ...Object.entries(wanted).filter(([key, value]) => there[key] !== value)]);
}
