/**
 * What the fake kubelet saw and did, in order, and waiting for a state without polling: every recorded event is an
 * occasion to look at the state again.
 *
 * @module
 */
import type { DeviceState } from "./allocations.ts";

/** How a plugin came to the kubelet: by calling Register, or found by the plugin watcher. */
export type Via = "register" | "watcher";

/** One thing that happened; `resource` is the extended resource name throughout. */
export type KubeletHappening =
  /** kubelet.sock accepts connections. */
  | { readonly kind: "listening" }
  /** The kubelet is gone; `socket` says whether kubelet.sock was left behind, as after a crash. */
  | { readonly kind: "stopped"; readonly socket: "stays" | "goes" }
  /** A Register call arrived, before anything was checked. */
  | { readonly kind: "register"; readonly resource: string; readonly endpoint: string; readonly version: string }
  | {
    readonly kind: "refused";
    readonly resource: string;
    readonly endpoint: string;
    readonly via: Via;
    readonly reason: string;
  }
  | { readonly kind: "registered"; readonly resource: string; readonly endpoint: string; readonly via: Via }
  /** A whole list came through ListAndWatch. */
  | { readonly kind: "list"; readonly resource: string; readonly devices: readonly DeviceState[] }
  /** The ListAndWatch stream of the endpoint in charge ended: all its devices count as unhealthy now. */
  | { readonly kind: "stream-ended"; readonly resource: string; readonly reason: string }
  /** Nobody came back for the resource in time: it left the node's capacity. */
  | { readonly kind: "dropped"; readonly resource: string }
  | {
    readonly kind: "preferred";
    readonly resource: string;
    readonly available: readonly string[];
    readonly mustInclude: readonly string[];
    readonly size: number;
    readonly answer: readonly string[];
    /** IDs of the answer that were not to be had; the kubelet passes over them in silence. */
    readonly ignored: readonly string[];
  }
  | { readonly kind: "allocated"; readonly resource: string; readonly pod: string; readonly ids: readonly string[] }
  | { readonly kind: "pre-started"; readonly resource: string; readonly pod: string; readonly ids: readonly string[] }
  | { readonly kind: "admission-failed"; readonly resource: string; readonly pod: string; readonly reason: string }
  | { readonly kind: "released"; readonly pod: string };

/** A happening and when: `at` is `performance.now()`, in milliseconds. */
export type KubeletEvent = KubeletHappening & { readonly at: number };

/** How long to wait, and for what in words; the words come back in the error. */
export interface WaitOptions {
  /** Milliseconds; 10,000 unless told. */
  readonly timeoutMs?: number;
  readonly what?: string;
}

interface Waiter {
  readonly check: () => void;
  readonly giveUp: (why: string) => void;
}

/** An append-only list of events with people waiting on it. */
export class History {
  readonly #events: KubeletEvent[] = [];
  readonly #waiters = new Set<Waiter>();
  readonly #listener: (event: KubeletEvent) => void;

  constructor(listener: (event: KubeletEvent) => void) {
    this.#listener = listener;
  }

  get events(): readonly KubeletEvent[] {
    return this.#events;
  }

  record(happening: KubeletHappening): void {
    const event: KubeletEvent = { ...happening, at: performance.now() };
    this.#events.push(event);
    this.#listener(event);
    for (const waiter of [...this.#waiters]) waiter.check();
  }

  /** Resolves with the first truthy value of `probe`, which is asked now and after every event. */
  wait<T>(probe: () => T | false | null | undefined, describe: () => string, options: WaitOptions): Promise<T> {
    const { timeoutMs = 10_000, what = "the expected state" } = options;
    return new Promise<T>((resolve, reject) => {
      const finish = (settle: () => void) => {
        clearTimeout(timer);
        this.#waiters.delete(waiter);
        settle();
      };
      const fail = (why: string) => new Error(`Cannot see ${what} at the kubelet: ${why}. ${describe()}`);
      const waiter: Waiter = {
        check: () => {
          try {
            const value = probe();
            if (value) finish(() => resolve(value));
          } catch (cause) {
            finish(() => reject(cause));
          }
        },
        giveUp: (why) => finish(() => reject(fail(why))),
      };
      const timer = setTimeout(() => waiter.giveUp(`waited ${timeoutMs} ms`), timeoutMs);
      this.#waiters.add(waiter);
      waiter.check();
    });
  }

  /** Nothing will happen any more: everybody who still waits is told so. */
  close(): void {
    for (const waiter of [...this.#waiters]) waiter.giveUp("the kubelet was closed");
  }
}
