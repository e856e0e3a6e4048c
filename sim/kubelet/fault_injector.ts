/**
 * The ways in which a kubelet can be a trouble to a plugin, switched on by a test or a scenario.
 *
 * @module
 */
import { setTimeout as delay } from "node:timers/promises";

/** Where a slow kubelet loses its time. */
export type SlowWhere = "register" | "admission" | "both";

/** What happens to the next Register call, apart from slowness. */
export type RegisterFault =
  | { readonly kind: "serve" }
  | { readonly kind: "refuse"; readonly reason: string }
  | { readonly kind: "die"; readonly socket: "stays" | "goes" }
  /** Answer, but never connect to the plugin. */
  | { readonly kind: "never-dial" };

interface Slowness {
  readonly ms: number;
  readonly where: SlowWhere;
  left: number;
}

/** FaultInjector in force. `times` everywhere counts the calls that are still to be treated so. */
export class FaultInjector {
  #registerFault: RegisterFault = { kind: "serve" };
  #fateLeft = 0;
  #slow: Slowness | null = null;

  /** Replaces what happens to the next `times` Register calls. */
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

  /** The fault of the Register call that has just arrived; counts it. */
  takeRegisterFault(): RegisterFault {
    if (this.#fateLeft <= 0) return { kind: "serve" };
    this.#fateLeft -= 1;
    return this.#registerFault;
  }

  /** Waits as long as this step has to; at once when the kubelet is not slow there. Ends early when `signal` aborts. */
  async dawdle(where: Exclude<SlowWhere, "both">, signal: AbortSignal): Promise<void> {
    const slow = this.#slow;
    if (slow === null || slow.left <= 0 || (slow.where !== "both" && slow.where !== where)) return;
    slow.left -= 1;
    await delay(slow.ms, undefined, { signal });
  }
}
