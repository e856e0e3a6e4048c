/**
 * The events of the fake kubelet in order, and waits for a state without polling: the condition is checked after every
 * recorded event.
 *
 * @module
 */
import { Waits } from "../waits.ts";
import type { DeviceState } from "./allocations.ts";

/** How the kubelet found a plugin: by a Register call or by the plugin watcher. */
export type Via = "register" | "watcher";

/** An event; `resource` is always the extended resource name. */
export type KubeletHappening =
  /** kubelet.sock accepts connections. */
  | { readonly kind: "listening" }
  /** The kubelet has stopped; `socket` says whether kubelet.sock was left behind, as after a crash. */
  | { readonly kind: "stopped"; readonly socket: "stays" | "goes" }
  /** A Register call arrived and has not been checked yet. */
  | { readonly kind: "register"; readonly resource: string; readonly endpoint: string; readonly version: string }
  | {
    readonly kind: "refused";
    readonly resource: string;
    readonly endpoint: string;
    readonly via: Via;
    readonly reason: string;
  }
  | { readonly kind: "registered"; readonly resource: string; readonly endpoint: string; readonly via: Via }
  /** A list was received through ListAndWatch. */
  | { readonly kind: "list"; readonly resource: string; readonly devices: readonly DeviceState[] }
  /** The ListAndWatch stream of the current endpoint ended: all its devices are unhealthy now. */
  | { readonly kind: "stream-ended"; readonly resource: string; readonly reason: string }
  /** The plugin did not return in time: the resource was removed from the node's capacity. */
  | { readonly kind: "dropped"; readonly resource: string }
  | {
    readonly kind: "preferred";
    readonly resource: string;
    readonly available: readonly string[];
    readonly mustInclude: readonly string[];
    readonly size: number;
    readonly answer: readonly string[];
    /** IDs in the answer that were not available; the kubelet ignores them without a message. */
    readonly ignored: readonly string[];
  }
  | { readonly kind: "allocated"; readonly resource: string; readonly pod: string; readonly ids: readonly string[] }
  | { readonly kind: "pre-started"; readonly resource: string; readonly pod: string; readonly ids: readonly string[] }
  | { readonly kind: "admission-failed"; readonly resource: string; readonly pod: string; readonly reason: string }
  | { readonly kind: "released"; readonly pod: string };

/** An event with its time: `at` is `performance.now()`, in milliseconds. */
export type KubeletEvent = KubeletHappening & { readonly at: number };

/** Timeout of a wait, and a description of the condition for the error. */
export interface WaitOptions {
  /** Milliseconds; default 60,000: enough on a machine that is busy with other work. */
  readonly timeoutMs?: number;
  readonly what?: string;
}

/** An append-only list of events, with waits for conditions. */
export class History {
  readonly #events: KubeletEvent[] = [];
  readonly #waits = new Waits();
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
    this.#waits.changed();
  }

  /** Resolves with the first truthy value of `probe`, which is called now and after every event. */
  wait<T>(probe: () => T | false | null | undefined, describe: () => string, options: WaitOptions): Promise<T> {
    const { timeoutMs, what = "the expected state" } = options;
    const message = (reason: string) => `Cannot see ${what} at the kubelet: ${reason}. ${describe()}`;
    return this.#waits.until(probe, message, timeoutMs);
  }

  /** No more events will follow: fails all pending waits. */
  close(): void {
    this.#waits.end("the kubelet was closed");
  }
}
