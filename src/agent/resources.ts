/**
 * The resources of an agent: one for each pool of the device plugin API, and the DRA side for the others. Created,
 * updated and closed so that they are what the inventory says.
 *
 * @module
 */
import type { SessionStatus } from "../device_plugin/session.ts";
import type { HostFacts } from "../pool/allocate.ts";
import type { DraSide } from "./dra_side.ts";
import type { Inventory } from "./inventory.ts";
import { Resource, type ResourceOptions } from "./resource.ts";

export class Resources {
  readonly #shared: ResourceOptions;
  readonly #dra: DraSide;
  readonly #has: HostFacts["has"];
  readonly #inBackground: (work: Promise<void>) => void;
  readonly #byName = new Map<string, Resource>();

  constructor(
    shared: ResourceOptions,
    dra: DraSide,
    has: HostFacts["has"],
    inBackground: (work: Promise<void>) => void,
  ) {
    this.#shared = shared;
    this.#dra = dra;
    this.#has = has;
    this.#inBackground = inBackground;
  }

  get sessions(): readonly SessionStatus[] {
    return [...[...this.#byName.values()].map((one) => one.status), ...this.#dra.sessions];
  }

  /** Whether {@link update} has something to retry although nothing changed. */
  get hasPendingWork(): boolean {
    return [...this.#byName.values()].some((one) => one.hasPendingWork);
  }

  update({ snapshot, states, ownersOf }: Inventory): void {
    const host: HostFacts = { rdmaCm: snapshot.rdmaCm, knem: snapshot.knem, has: this.#has, ownersOf };
    for (const [name, resource] of this.#byName) {
      if (states.get(name)?.spec.api === "device-plugin") continue;
      this.#byName.delete(name);
      this.#inBackground(resource.retire());
      this.#shared.log.info(`${name} is no longer offered through the device plugin API`, { resource: name });
    }
    for (const [name, poolState] of states) {
      if (poolState.spec.api !== "device-plugin") continue;
      const resource = this.#byName.get(name) ?? new Resource(poolState, host, this.#shared);
      this.#byName.set(name, resource);
      resource.update(poolState, host, snapshot.hcas);
    }
    this.#dra.update(states, snapshot, host);
  }

  kubeletDirChanged(): void {
    for (const one of this.#byName.values()) one.kubeletDirChanged();
    this.#dra.kubeletDirChanged();
  }

  reregister(): void {
    for (const one of this.#byName.values()) one.reregister();
    this.#dra.kubeletDirChanged();
  }

  /** Dials our own sockets. */
  probe(): void {
    for (const one of this.#byName.values()) one.probe();
  }

  async close(): Promise<void> {
    await Promise.all([...[...this.#byName.values()].map((one) => one.close()), this.#dra.close()]);
  }
}
