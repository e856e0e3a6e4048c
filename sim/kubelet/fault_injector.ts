/**
 * Faults of a kubelet, enabled by tests or scenarios.
 *
 * @module
 */
import { setTimeout as delay } from "node:timers/promises";

/** The calls that a slow kubelet delays. */
export type SlowWhere = "register" | "admission" | "both";

/** The fault of the next Register call, besides delays. */
export type RegisterFault =
  | { readonly kind: "serve" }
  | { readonly kind: "refuse"; readonly reason: string }
  | { readonly kind: "die"; readonly socket: "stays" | "goes" }
  /** Answers, but never connects to the plugin. */
  | { readonly kind: "never-dial" };

interface Slowness {
  readonly ms: number;
  readonly where: SlowWhere;
  left: number;
}

/** The active faults. `times` is the number of remaining calls with the fault. */
export class FaultInjector {
  #registerFault: RegisterFault = { kind: "serve" };
  #fateLeft = 0;
  #slow: Slowness | null = null;

  /** Sets the fault of the next `times` Register calls. */
  setRegisterFault(fault: RegisterFault, times: number): void {
    this.#registerFault = fault;
    this.#fateLeft = times;
  }

  setSlow(ms: number, where: SlowWhere, times: number): void {
    this.#slow = { ms, where, left: times };
  }

  calm(): void {
    this.#fateLeft = 0;
    this.#slow = null;
  }

  /** Returns the fault of a Register call that has just arrived, and counts it. */
  takeRegisterFault(): RegisterFault {
    if (this.#fateLeft <= 0) return { kind: "serve" };
    this.#fateLeft -= 1;
    return this.#registerFault;
  }

  /** Delays this step if needed. Ends early when `signal` aborts. */
  async dawdle(where: Exclude<SlowWhere, "both">, signal: AbortSignal): Promise<void> {
    const slow = this.#slow;
    if (slow === null || slow.left <= 0 || (slow.where !== "both" && slow.where !== where)) return;
    slow.left -= 1;
    await delay(slow.ms, undefined, { signal });
  }
}
