/**
 * Faults of a kubelet, enabled by tests or scenarios.
 *
 * @module
 */
import { setTimeout as delay } from "node:timers/promises";

/** The fault of the next Register call, besides delays. */
export type RegisterFault =
  | { readonly kind: "serve" }
  | { readonly kind: "refuse"; readonly reason: string }
  | { readonly kind: "die"; readonly socket: "stays" | "goes" };

/** The active faults. `times` is the number of remaining calls with the fault. */
export class FaultInjector {
  #registerFault: RegisterFault = { kind: "serve" };
  #fateLeft = 0;
  #slow = { ms: 0, left: 0 };

  /** Sets the fault of the next `times` Register calls. */
  setRegisterFault(fault: RegisterFault, times: number): void {
    this.#registerFault = fault;
    this.#fateLeft = times;
  }

  setSlow(ms: number, times: number): void {
    this.#slow = { ms, left: times };
  }

  calm(): void {
    this.#fateLeft = 0;
    this.#slow.left = 0;
  }

  /** Returns the fault of a Register call that has just arrived, and counts it. */
  takeRegisterFault(): RegisterFault {
    if (this.#fateLeft <= 0) return { kind: "serve" };
    this.#fateLeft -= 1;
    return this.#registerFault;
  }

  /** Delays a Register call if needed. Ends early when `signal` aborts. */
  async dawdle(signal: AbortSignal): Promise<void> {
    if (this.#slow.left <= 0) return;
    this.#slow.left -= 1;
    await delay(this.#slow.ms, undefined, { signal });
  }
}
