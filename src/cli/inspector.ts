/**
 * The machine as described by the flags, for commands that inspect it without serving (`list`, `doctor`).
 *
 * @module
 */
import { resolve } from "node:path";
import { inspect, type Inventory } from "../agent/inventory.ts";
import { kubeletRecord, restoreNetdevs } from "../agent/kept.ts";
import { Discovery } from "../hca/discover.ts";
import type { Depth } from "../hca/events/trigger.ts";
import { hostHas } from "../hca/files.ts";
import type { Snapshot } from "../hca/types.ts";
import type { ResourceSpec } from "../pool/spec.ts";
import type { Values } from "./flags.ts";
import { machine } from "./machine.ts";

/** Inspects the machine repeatedly. Dispose it to unload libibverbs. */
export class Inspector implements Disposable {
  readonly #machine: ReturnType<typeof machine>;
  readonly #specs: readonly ResourceSpec[];
  readonly #kubeletDir: string;
  readonly discovery: Discovery;

  constructor(values: Values, specs: readonly ResourceSpec[]) {
    this.#machine = machine(values);
    this.#specs = specs;
    this.#kubeletDir = resolve(values["kubelet-dir"]);
    this.discovery = new Discovery(this.#machine);
    restoreNetdevs(this.discovery.memory, this.#kubeletDir);
  }

  async scan(depth: Depth): Promise<Inventory> {
    return this.of(await this.discovery.scan(depth));
  }

  /** The inventory of a snapshot. */
  of(snapshot: Snapshot): Inventory {
    return inspect(snapshot, this.#specs, kubeletRecord(this.#kubeletDir), hostHas(this.#machine.roots.dev));
  }

  [Symbol.dispose](): void {
    this.#machine.verbs[Symbol.dispose]();
  }
}
