/**
 * The CDI specs of the plugin's resources over time: written with the states, again when somebody deletes them, and left
 * where they are while containers name their devices, whatever becomes of the resource or of the plugin. A container
 * that is started again is looked up by its runtime then, not by the kubelet.
 *
 * @module
 */
import { CdiFiles, type OtherSpec } from "../kubelet/cdi_files.ts";
import { heldDevices, isUnreadable } from "../kubelet/checkpoint.ts";
import { isServed } from "../kubelet/socket_probe.ts";
import type { Hca } from "../hca/types.ts";
import type { HostFacts } from "../pool/allocate.ts";
import { asCdiSpec, cdiSpec, withoutForeign } from "../pool/cdi.ts";
import { SHARE_MARK } from "../pool/devices.ts";
import { nodesOf, sharedNodes } from "../pool/extra_nodes.ts";
import type { ResourceSpec } from "../pool/spec.ts";
import type { PoolState } from "../pool/states.ts";
import type { Log } from "../text/log.ts";

/** What was written, as far as it can become wrong without a change of the states. */
interface Assumed {
  readonly has: HostFacts["has"];
  readonly optional: readonly { readonly hostPath: string; readonly exists: boolean }[];
}

/** The specs of one plugin. */
export class CdiSpecs {
  readonly #files: CdiFiles;
  readonly #kubeletDir: string;
  readonly #log: Log;
  readonly #assumed = new Map<string, Assumed>();
  /** Resources whose spec could not be written. */
  readonly #failed = new Set<string>();
  /** Resources that this plugin does not have (any more) and whose spec stays because containers hold their devices. */
  readonly #orphans = new Set<string>();

  constructor(cdiDir: string, kubeletDir: string, log: Log) {
    this.#files = new CdiFiles(cdiDir);
    this.#kubeletDir = kubeletDir;
    this.#log = log;
  }

  /** Null when the spec is written, else the sentence that says why not; devices must then not be named. */
  write(poolState: PoolState, host: HostFacts, owner: string, hcas: readonly Hca[]): string | null {
    const { spec } = poolState;
    this.#orphans.delete(spec.name);
    const before = asCdiSpec(this.#files.read(spec.name));
    const isHeld = (name: string) => this.#isHeld(spec, name);
    try {
      this.#files.write(spec.name, cdiSpec(poolState, host, owner, { before, isHeld, hcas }));
      this.#assumed.set(spec.name, { has: host.has, optional: optionalNodes(poolState, host) });
      if (this.#failed.delete(spec.name)) this.#log.info("the CDI spec is written now", { resource: spec.name });
      return null;
    } catch (error) {
      const { message } = error as Error;
      if (!this.#failed.has(spec.name)) this.#log.error(message, { resource: spec.name });
      this.#failed.add(spec.name);
      return message;
    }
  }

  /** Whether the resource's spec is on disk as it was written, and still right about nodes that come and go. */
  isInPlace(resource: string): boolean {
    const assumed = this.#assumed.get(resource);
    return assumed !== undefined && this.#files.isInPlace(resource) &&
      assumed.optional.every(({ hostPath, exists }) => assumed.has(hostPath) === exists);
  }

  /** Whether a scan has to write the resource's spec although no state changed. */
  needsWriting(resource: string): boolean {
    return this.#failed.has(resource) || (this.#files.has(resource) && !this.isInPlace(resource));
  }

  /** The plugin has the resource no longer, or answers without CDI names now. */
  end(resource: string): void {
    this.#failed.delete(resource);
    this.#assumed.delete(resource);
    if (!this.#files.has(resource)) return;
    if (!this.#anyHeld(resource)) return this.#remove(resource);
    this.#orphans.add(resource);
    this.#log.info(`${this.#files.leave(resource)} stays: containers hold devices of ${resource}`, { resource });
  }

  /**
   * Takes over what earlier plugins left in the directory. A plugin that lives keeps its own.
   *
   * @param withCdi resources of this plugin that have a spec
   * @param all every resource of this plugin
   */
  async adopt(withCdi: ReadonlySet<string>, all: ReadonlySet<string>): Promise<void> {
    for (const other of this.#files.others()) {
      const { name, resource, socket } = other;
      if (withCdi.has(resource) || (!all.has(resource) && await isServed(socket))) continue;
      if (this.#anyHeld(resource)) {
        this.#orphans.add(resource);
        this.#log.info(`${name}, which an earlier plugin left behind, stays: containers hold its devices`);
      } else this.#removeOther(other);
    }
  }

  /** Removes what is not held any more, and entries whose nodes have become another HCA's. */
  tend(ownersOf: HostFacts["ownersOf"]): void {
    if (this.#orphans.size === 0) return;
    for (const other of this.#files.others().filter(({ resource }) => this.#orphans.has(resource))) {
      const spec = asCdiSpec(this.#files.read(other.resource));
      const devices = spec === null ? [] : withoutForeign(spec.devices, ownersOf);
      if (spec === null || devices.length === 0 || !this.#anyHeld(other.resource)) this.#removeOther(other);
      else if (devices.length < spec.devices.length) this.#rewrite(other.resource, { ...spec, devices });
    }
  }

  #rewrite(resource: string, spec: ReturnType<typeof cdiSpec>): void {
    try {
      this.#files.write(resource, spec);
    } catch {
      // The next scan tries again; until then the file says what it said.
    }
    this.#files.leave(resource);
  }

  #removeOther(other: OtherSpec): void {
    this.#orphans.delete(other.resource);
    if (this.#files.removeOther(other)) this.#log.info(`removed ${other.name}, which an earlier plugin left behind`);
  }

  #remove(resource: string): void {
    const left = this.#files.remove(resource);
    if (left !== null) this.#log.warn(`Cannot remove ${left}; the next plugin that starts does, when it can`);
  }

  /** What cannot be known counts as held: a spec too many does no harm, and one too few keeps a container from starting. */
  #anyHeld(resource: string): boolean {
    return (heldDevices(this.#kubeletDir).get(resource)?.size ?? 0) > 0 || isUnreadable(this.#kubeletDir);
  }

  /** Whether a container may hold the HCA. Where IDs are no names of HCAs, any ID that is held may stand for it. */
  #isHeld(spec: ResourceSpec, hca: string): boolean {
    if (isUnreadable(this.#kubeletDir)) return true;
    const ids = [...heldDevices(this.#kubeletDir).get(spec.name) ?? []];
    if (spec.ids === "pci" || (spec.mode.kind === "shared" && spec.mode.of === "all")) return ids.length > 0;
    return ids.some((id) => id === hca || id.startsWith(`${hca}${SHARE_MARK}`));
  }
}

/** Optional devices of the resource's HCAs, and whether the host has them now. */
function optionalNodes({ spec, deviceStates }: PoolState, host: HostFacts): Assumed["optional"] {
  if (!spec.expose.devices.some((device) => device.optional)) return [];
  const hcas = [...deviceStates.values()].flatMap((one) => one.member.hcas);
  const nodes = [...sharedNodes(spec, host), ...hcas.flatMap((hca) => nodesOf(spec, hca, host))];
  return nodes.filter((node) => node.optional).map(({ hostPath }) => ({ hostPath, exists: host.has(hostPath) }));
}
