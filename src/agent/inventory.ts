/**
 * One scan of the machine with everything that follows from it, without serving anything: what `list` prints and
 * `doctor` judges.
 *
 * @module
 */
import { join, resolve } from "node:path";
import { Discovery } from "../hca/discover.ts";
import type { Depth } from "../hca/events/trigger.ts";
import { NetdevFile } from "../hca/netdev_memory.ts";
import type { Snapshot } from "../hca/types.ts";
import { type PoolStates, track } from "../pool/states.ts";
import { type LeftOut, select } from "../pool/select.ts";
import type { ResourceSpec } from "../pool/spec.ts";
import type { Values } from "../cli/flags.ts";
import { machine } from "../cli/machine.ts";
import { formerMembers, heldMembers, NETDEV_FILE } from "./kept.ts";

/** What was found, what is offered, and why the rest is not. */
export interface Inventory {
  readonly snapshot: Snapshot;
  readonly specs: readonly ResourceSpec[];
  readonly states: PoolStates;
  readonly leftOut: readonly LeftOut[];
}

/** Surveys the machine again and again. */
export class Inspector implements Disposable {
  readonly #host: ReturnType<typeof machine>;
  readonly #specs: readonly ResourceSpec[];
  readonly #kubeletDir: string;
  readonly discovery: Discovery;

  constructor(values: Values, specs: readonly ResourceSpec[]) {
    this.#host = machine(values);
    this.#specs = specs;
    this.#kubeletDir = resolve(values["kubelet-dir"]);
    this.discovery = new Discovery(this.#host);
    this.discovery.memory.restore(new NetdevFile(join(this.#kubeletDir, NETDEV_FILE)).read());
  }

  async scan(depth: Depth): Promise<Inventory> {
    return this.of(await this.discovery.scan(depth));
  }

  /** What follows from a snapshot. Every inventory is a first sight: nothing has to settle. */
  of(snapshot: Snapshot): Inventory {
    const specs = this.#specs;
    const { leftOut, pools } = select(specs, snapshot, formerMembers(specs, this.#kubeletDir));
    const held = snapshot.netnsMode === "exclusive" ? heldMembers(specs, this.#kubeletDir) : new Map();
    const { states } = track(new Map(), { leftOut, pools }, held, 0);
    return { snapshot, specs, states, leftOut };
  }

  [Symbol.dispose](): void {
    this.#host.verbs[Symbol.dispose]();
  }
}
