/**
 * The agent's DRA side: loaded with the first resource that has `api: dra`, or where claims of an earlier configuration
 * are still prepared. An agent without either loads none of it.
 *
 * @module
 */
import { join } from "node:path";
import type { SessionStatus } from "../device_plugin/session.ts";
import type { DraDoor } from "../dra/door.ts";
import type { DraHooks, DraSettings } from "../dra/open.ts";
import { isDirectory } from "../hca/files.ts";
import type { Snapshot } from "../hca/types.ts";
import type { HostFacts } from "../pool/allocate.ts";
import type { ClaimedHcas } from "../pool/select.ts";
import type { ResourceSpec } from "../pool/spec.ts";
import type { PoolStates } from "../pool/states.ts";

type Module = typeof import("../dra/open.ts");

const NONE: ClaimedHcas = new Map();

export class DraSide {
  readonly #settings: DraSettings | null;
  readonly #hooks: DraHooks;
  #module: Module | null = null;
  #door: DraDoor | null = null;
  /** Resources with `api: dra` of the last update. */
  #names: readonly string[] = [];
  #started = false;

  /** @param settings null in a program without DRA */
  constructor(settings: DraSettings | null, hooks: DraHooks) {
    this.#settings = settings;
    this.#hooks = hooks;
  }

  /** Loads what these resources need; call it before the scan that offers them. */
  async load(specs: readonly ResourceSpec[]): Promise<void> {
    const wanted = specs.some((spec) => spec.api === "dra");
    const settings = this.#settings;
    if (settings === null) return;
    const claims = join(settings.pluginsDir, settings.driver);
    if (!wanted && !isDirectory(claims)) return;
    this.#module ??= await import("../dra/open.ts");
    // Claims of before need a driver, too: their pods cannot end without one.
    const needed = wanted || this.#module.preparedClaims(settings).length > 0;
    if (!needed || this.#door !== null) return;
    try {
      this.#door = this.#module.openDoor(settings, this.#hooks);
    } catch (error) {
      const { message } = error as Error;
      if (wanted) this.#hooks.log.error(`DRA: ${message}`);
      else {this.#hooks.log.warn(
          `claims are prepared on this node, and their pods cannot end without a driver: ${message}`,
        );}
    }
  }

  /** Whether the driver is served. */
  get isOpen(): boolean {
    return this.#door !== null;
  }

  /** HCAs that claims have: the device plugin must not hand them out. */
  claimed(snapshot: Snapshot): ClaimedHcas {
    if (this.#module === null) return NONE;
    return this.#module.claimedHcas(this.#module.preparedClaims(this.#settings!), snapshot);
  }

  /** Takes over the state of a scan. */
  update(states: PoolStates, snapshot: Snapshot, host: HostFacts): void {
    this.#names = [...states.values()].filter(({ spec }) => spec.api === "dra").map(({ spec }) => spec.name);
    this.#door?.update(states, snapshot, host);
    if (this.#door === null || this.#started) return;
    this.#started = true;
    this.#door.start();
  }

  kubeletDirChanged(): void {
    this.#door?.kubeletDirChanged();
  }

  /** The driver's state, once for each of its resources, in the words of the device plugin's sessions. */
  get sessions(): readonly SessionStatus[] {
    const status = this.#door?.status;
    return this.#names.map((resource): SessionStatus => {
      const reason = status === undefined ? "no API server is known" : status.reason ?? status.publisher.reason;
      const ready = status?.registered === true && reason === null;
      return {
        resource,
        phase: ready ? "registered" : "registering",
        via: "watcher",
        socket: status?.socket ?? "",
        // A kubelet without the health service follows nothing, and all is well.
        streams: ready ? Math.max(1, status.healthStreams) : 0,
        registrations: status?.registrations ?? 0,
        reason: ready ? null : reason ?? "the kubelet has not come yet",
      };
    });
  }

  async close(): Promise<void> {
    await this.#door?.close();
  }
}
