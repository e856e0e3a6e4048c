/**
 * The agent's DRA side. The driver is loaded with the first resource that has `api: dra`, or if claims of an earlier
 * configuration are still prepared; otherwise not at all.
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

  /** Loads the driver if these resources need it; call it before the scan that offers them. */
  async load(specs: readonly ResourceSpec[]): Promise<void> {
    const wanted = specs.some((spec) => spec.api === "dra");
    const settings = this.#settings;
    if (settings === null) return;
    const claims = join(settings.pluginsDir, settings.driver);
    if (!wanted && !isDirectory(claims)) return;
    this.#module ??= await import("../dra/open.ts");
    // Claims that are still prepared need a driver as well: their pods cannot terminate without one.
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

  /** HCAs held by claims: the device plugin must not allocate them. */
  claimed(snapshot: Snapshot): ClaimedHcas {
    if (this.#module === null) return NONE;
    return this.#module.claimedHcas(this.#module.preparedClaims(this.#settings!), snapshot);
  }

  /** Takes the result of a scan. */
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

  /** The driver's state for each of its resources, in the form of a device plugin session's. */
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
        // A kubelet that does not support the health service opens no stream.
        streams: ready ? Math.max(1, status.healthStreams) : 0,
        registrations: status?.registrations ?? 0,
        code: ready ? "registered" : "driver-not-ready",
        reason: ready ? null : reason ?? "the kubelet has not come yet",
      };
    });
  }

  async close(): Promise<void> {
    await this.#door?.close();
  }
}
