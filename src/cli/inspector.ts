/**
 * The machine as described by the flags, for commands that inspect it without serving (`list`, `doctor`).
 *
 * @module
 */
import { join, resolve } from "node:path";
import { inspect, type Inventory } from "../agent/inventory.ts";
import { readRuleCounters, type RuleCounters } from "../agent/rule_counters.ts";
import { kubeletRecord, restoreNetdevs } from "../agent/kept.ts";
import { Discovery } from "../hca/discover.ts";
import type { Depth } from "../hca/events/trigger.ts";
import { hostHas, isDirectory } from "../hca/files.ts";
import type { ClaimRecord } from "../dra/claim_record.ts";
import type { Snapshot } from "../hca/types.ts";
import type { ResourceSpec } from "../pool/spec.ts";
import type { Values } from "./flags.ts";
import { machine } from "./machine.ts";

/** The module that reads prepared claims; null, without loading it, where there are none and no resource uses DRA. */
export async function claimsModule(values: Values, specs: readonly ResourceSpec[]) {
  const driver = join(resolve(values["plugins-dir"]), values["dra-driver-name"]);
  const wanted = specs.some((spec) => spec.api === "dra") || isDirectory(driver);
  return wanted ? await import("../dra/open.ts") : null;
}

/** Inspects the machine repeatedly. Dispose it to unload libibverbs. */
export class Inspector implements Disposable {
  readonly #machine: ReturnType<typeof machine>;
  readonly #specs: readonly ResourceSpec[];
  readonly #kubeletDir: string;
  readonly #claims: () => readonly ClaimRecord[];
  readonly #claimsOf: typeof import("../dra/open.ts") | null;
  readonly discovery: Discovery;

  /** @param dra the DRA side, where there may be claims: {@link claimsModule} */
  constructor(values: Values, specs: readonly ResourceSpec[], dra: typeof import("../dra/open.ts") | null = null) {
    const where = { pluginsDir: resolve(values["plugins-dir"]), driver: values["dra-driver-name"] };
    this.#claims = () => dra?.preparedClaims(where) ?? [];
    this.#claimsOf = dra;
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
    const claimed = this.#claimsOf?.claimedHcas(this.#claims(), snapshot);
    return inspect(snapshot, this.#specs, kubeletRecord(this.#kubeletDir), hostHas(this.#machine.roots.dev), claimed);
  }

  /** The counters that `health.errors` names. */
  errorCounters(inventory: Inventory): Promise<RuleCounters> {
    return readRuleCounters(this.#machine.roots.sysfs, inventory);
  }

  /** "namespace/name" of the claims that have an HCA, by the HCA's name. */
  claimsOn(snapshot: Snapshot): ReadonlyMap<string, readonly string[]> {
    return this.#claimsOf?.claimsByHca(this.#claims(), snapshot) ?? new Map();
  }

  [Symbol.dispose](): void {
    this.#machine.verbs[Symbol.dispose]();
  }
}
