/**
 * What is said of a scan: one log line for each device whose state changed, the list of the last changes, and the news
 * to observers.
 *
 * @module
 */
import { netnsNotes } from "../pool/netns.ts";
import type { Change } from "../pool/states.ts";
import type { Log } from "../text/log.ts";
import type { Inventory } from "./inventory.ts";
import type { AgentState, Observers } from "./observer.ts";
import type { Scan } from "./rescan_loop.ts";

const CHANGES_KEPT = 200;

export class ScanReport {
  readonly #log: Log;
  readonly #observers: Observers;
  #changes: AgentState["changes"] = [];

  constructor(log: Log, observers: Observers) {
    this.#log = log;
    this.#observers = observers;
  }

  /** The last changes, newest last. */
  get changes(): AgentState["changes"] {
    return this.#changes;
  }

  /**
   * @param first whether it is the first scan: the start is printed as one block, not as a line for each device
   * @param changed whether the inventory is different from before
   */
  scanned(scan: Scan, changes: readonly Change[], first: boolean, changed: boolean): void {
    const time = Date.now();
    for (const { resource, device, hca, port, from, to, code, reason } of changes) {
      const level = first ? "debug" : to === "Healthy" ? "info" : "warn";
      this.#log[level](`${device}: ${from} → ${to}: ${reason}`, { resource, hca, port, code });
    }
    this.#changes = [...this.#changes, ...changes.map((one) => ({ ...one, time }))].slice(-CHANGES_KEPT);
    if (changes.length > 0) this.#observers.onChanges(changes);
    this.#observers.onScan(scan, changed);
    const event = scan.triggers[0]!;
    if (changes.length > 0 && !first) {
      this.#observers.onEventLatency((performance.now() - event.at) / 1e3, event.source);
    }
    if (changed || changes.length > 0) this.#observers.onState();
    this.#log.debug(`scanned (${scan.depth}) because of ${event.source}: ${event.detail}`, {
      ms: Math.round(scan.seconds * 1e4) / 10,
      hcas: scan.snapshot.hcas.length,
      changes: changes.length,
    });
  }
}

/** Logs notes about the network namespace mode that affect pods. */
export function warnOfNetns(log: Log, { specs, snapshot }: Inventory): void {
  for (const { verdict, what, reason, fix } of netnsNotes(specs, snapshot.netnsMode)) {
    log[verdict === "hint" ? "info" : "warn"](`${what}: ${reason}; ${fix}`);
  }
}
