/**
 * The observable part of a running agent: its state, and events. The agent itself counts nothing; metrics and the
 * status page observe it.
 *
 * @module
 */
import type { SessionStatus } from "../device_plugin/session.ts";
import type { Grant } from "../pool/allocate.ts";
import type { Change } from "../pool/states.ts";
import type { ErrorWatch } from "./error_watch.ts";
import type { Inventory } from "./inventory.ts";
import type { Scan } from "./rescan_loop.ts";

export interface AgentState {
  /** Null before the first scan has ended. */
  readonly inventory: Inventory | null;
  readonly sessions: readonly SessionStatus[];
  /** The last changes, newest last, with wall-clock time (ms since the epoch). */
  readonly changes: readonly (Change & { readonly time: number })[];
  /** The counters that have error rules. */
  readonly errors?: Pick<ErrorWatch, "watched" | "skipped">;
}

export interface AgentObserver {
  onScan?(scan: Scan, changed: boolean): void;
  /** All changes of one scan, of which {@link AgentState} keeps the last ones only. Called before {@link onScan}. */
  onChanges?(changes: readonly Change[]): void;
  /** Seconds from the event to the update of the list on the streams. */
  onEventLatency?(seconds: number, source: string): void;
  onCall?(resource: string, method: string, seconds: number, refused: { code: string; message: string } | null): void;
  /** The DRA driver answered for one claim; `refused` is the reason. */
  onClaim?(method: string, seconds: number, refused: string | null): void;
  onAllocated?(resource: string, ids: readonly string[], grant: Grant): void;
  onListSent?(resource: string, bytes: number): void;
  onSession?(status: SessionStatus): void;
  /** Called when anything in {@link AgentState} changed. */
  onState?(): void;
}

/** Combines several observers. */
export class Observers implements Required<AgentObserver> {
  readonly #all = new Set<AgentObserver>();

  /** Returns the function that removes the observer. */
  add(observer: AgentObserver): () => void {
    this.#all.add(observer);
    return () => this.#all.delete(observer);
  }

  onScan(...args: Parameters<Required<AgentObserver>["onScan"]>): void {
    for (const one of this.#all) one.onScan?.(...args);
  }

  onChanges(...args: Parameters<Required<AgentObserver>["onChanges"]>): void {
    for (const one of this.#all) one.onChanges?.(...args);
  }

  onEventLatency(...args: Parameters<Required<AgentObserver>["onEventLatency"]>): void {
    for (const one of this.#all) one.onEventLatency?.(...args);
  }

  onCall(...args: Parameters<Required<AgentObserver>["onCall"]>): void {
    for (const one of this.#all) one.onCall?.(...args);
  }

  onClaim(...args: Parameters<Required<AgentObserver>["onClaim"]>): void {
    for (const one of this.#all) one.onClaim?.(...args);
  }

  onAllocated(...args: Parameters<Required<AgentObserver>["onAllocated"]>): void {
    for (const one of this.#all) one.onAllocated?.(...args);
  }

  onListSent(...args: Parameters<Required<AgentObserver>["onListSent"]>): void {
    for (const one of this.#all) one.onListSent?.(...args);
  }

  onSession(...args: Parameters<Required<AgentObserver>["onSession"]>): void {
    for (const one of this.#all) one.onSession?.(...args);
  }

  onState(): void {
    for (const one of this.#all) one.onState?.();
  }
}
