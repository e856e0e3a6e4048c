/**
 * Keeps the condition RDMAReady of this node's object: written when it differs from what is there, and never else.
 *
 * @module
 */
import { type NodeCondition, time } from "../kubernetes/core_api.ts";
import { Budget } from "./budget.ts";
import { CONDITION, type Condition } from "./condition.ts";
import type { Round } from "./lane.ts";
import type { NodeObject } from "./node_object.ts";

/** Every change of a condition wakes whoever watches nodes. */
const AT_ONCE = 6;
const ONE_MORE_MS = 10_000;

export class ConditionWriter {
  readonly #node: NodeObject;
  /** Called once, when it is known what an earlier process has left. */
  readonly #onKnown: (same: boolean) => void;
  readonly #budget: Budget;
  #wanted: Condition | null = null;
  /** When its status became what it is, in milliseconds since the epoch. */
  #since = 0;
  #there: NodeCondition | null = null;
  /** Age of the node object at which {@link #there} was read; null before. */
  #readAt: number | null = null;

  /** @param everyMs how often it may be written when that is often */
  constructor(node: NodeObject, onKnown: (same: boolean) => void, everyMs = ONE_MORE_MS) {
    this.#node = node;
    this.#onKnown = onKnown;
    this.#budget = new Budget(AT_ONCE, everyMs);
  }

  want(wanted: Condition | null, now: number): void {
    if (wanted?.status !== this.#wanted?.status) this.#since = now;
    this.#wanted = wanted;
  }

  /** One comparison, and the write that follows from it. */
  async work(signal: AbortSignal): Promise<Round> {
    const { age } = this.#node;
    if (this.#readAt !== age) {
      const read = await this.#node.get();
      if (!read.ok) return { error: read.error, wakeAt: null };
      this.#there = read.value.status?.conditions?.find((one) => one.type === CONDITION) ?? null;
      const first = this.#readAt === null;
      this.#readAt = age;
      if (first) this.#onKnown(isSame(this.#wanted, this.#there));
    }
    // A node whose last adapter is gone had a condition, and one that never had any needs none.
    const wanted = this.#wanted ?? (this.#there === null ? null : GONE);
    if (wanted === null || isSame(wanted, this.#there)) return { error: null, wakeAt: null };
    const wait = this.#budget.take(performance.now());
    if (wait !== null) return { error: null, wakeAt: Date.now() + wait - performance.now() };
    const lastTransitionTime = this.#there?.status === wanted.status
      ? this.#there.lastTransitionTime
      : time(this.#since);
    const condition: NodeCondition = {
      type: CONDITION,
      ...wanted,
      lastHeartbeatTime: time(Date.now()),
      ...lastTransitionTime === undefined ? {} : { lastTransitionTime },
    };
    const written = await this.#node.patchStatus({ conditions: [condition] }, signal);
    if (!written.ok) return { error: written.error, wakeAt: null };
    this.#there = condition;
    // What was wanted meanwhile has kicked the lane.
    return { error: null, wakeAt: null };
  }
}

const GONE: Condition = { status: "False", reason: "NoDevices", message: "there is no adapter any more" };

function isSame(a: Condition | null, b: NodeCondition | null): boolean {
  return a?.status === b?.status && a?.reason === b?.reason && a?.message === b?.message;
}
