/**
 * Manages the CDI specs of the plugin's resources: written with the states, rewritten when they are deleted, and kept
 * while containers use their devices, even after the resource or the plugin has ended. When a container restarts, its
 * runtime resolves the names without the kubelet.
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

/**
 * How long the kubelet may need to record an answer in its checkpoint, in milliseconds: it does so when the container
 * has the devices of all its resources, and other plugins may be slow.
 */
const UNRECORDED_MS = 30_000;

/** The CDI specs of one plugin. */
export class CdiSpecs {
  readonly #files: CdiFiles;
  readonly #kubeletDir: string;
  readonly #log: Log;
  readonly #assumed = new Map<string, Assumed>();
  /** Device IDs of answers, by resource, with the time of the last one. */
  readonly #answered = new Map<string, Map<string, number>>();
  readonly #now: () => number;
  /** Resources whose spec could not be written. */
  readonly #failed = new Set<string>();
  /** Resources that this plugin no longer has, with specs that are kept because containers hold their devices. */
  readonly #orphans = new Set<string>();

  /** @param now milliseconds of a monotonic clock */
  constructor(cdiDir: string, kubeletDir: string, log: Log, now = () => performance.now()) {
    this.#now = now;
    this.#files = new CdiFiles(cdiDir);
    this.#kubeletDir = kubeletDir;
    this.#log = log;
  }

  /** Writes the spec. Returns null on success, otherwise the reason; Allocate must then not return CDI names. */
  write(poolState: PoolState, host: HostFacts, owner: string, hcas: readonly Hca[]): string | null {
    const { spec } = poolState;
    this.#orphans.delete(spec.name);
    const before = asCdiSpec(this.#files.read(spec.name));
    const isHeld = (name: string) => this.#isHeld(spec, name);
    try {
      this.#files.write(spec.name, cdiSpec(poolState, host, owner, { before, isHeld, hcas }));
      this.#assumed.set(spec.name, { has: host.has, optional: optionalNodes(poolState, host) });
      if (this.#failed.delete(spec.name)) this.#log.info("the CDI spec has been written", { resource: spec.name });
      return null;
    } catch (error) {
      const { message } = error as Error;
      if (!this.#failed.has(spec.name)) this.#log.error(message, { resource: spec.name });
      this.#failed.add(spec.name);
      return message;
    }
  }

  /** Allocate has answered with names of the resource's spec for these device IDs. */
  answered(resource: string, ids: readonly string[]): void {
    const known = this.#answered.get(resource) ?? new Map<string, number>();
    for (const id of ids) known.set(id, this.#now());
    this.#answered.set(resource, known);
  }

  /** Whether the resource's spec is on disk unchanged, and still correct about optional nodes. */
  isInPlace(resource: string): boolean {
    const assumed = this.#assumed.get(resource);
    return assumed !== undefined && this.#files.isInPlace(resource) &&
      assumed.optional.every(({ hostPath, exists }) => assumed.has(hostPath) === exists);
  }

  /** Whether a scan has to write the resource's spec although no state changed. */
  needsWriting(resource: string): boolean {
    return this.#failed.has(resource) || (this.#files.has(resource) && !this.isInPlace(resource));
  }

  /** The plugin no longer has the resource, or no longer uses CDI for it. */
  end(resource: string): void {
    this.#failed.delete(resource);
    this.#assumed.delete(resource);
    if (!this.#files.has(resource)) return;
    if (!this.#anyHeld(resource)) return this.#remove(resource);
    this.#orphans.add(resource);
    this.#log.info(`${this.#files.leave(resource)} is kept: containers hold devices of ${resource}`, { resource });
  }

  /**
   * Takes over specs of earlier plugins in the directory. Specs of a running plugin are left alone.
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
        this.#log.info(`${name} of an earlier plugin is kept: containers hold its devices`);
      } else this.#removeOther(other);
    }
  }

  /** Removes specs that are no longer held, and entries whose nodes now belong to another HCA. */
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
      // The next scan retries; until then the file keeps its content.
    }
    this.#files.leave(resource);
  }

  #removeOther(other: OtherSpec): void {
    this.#orphans.delete(other.resource);
    if (this.#files.removeOther(other)) this.#log.info(`removed ${other.name} of an earlier plugin`);
  }

  #remove(resource: string): void {
    const left = this.#files.remove(resource);
    if (left !== null) this.#log.warn(`Cannot remove ${left}; the next plugin that starts will retry`);
  }

  /**
   * If unknown, devices count as held: an extra spec does no harm, while a missing one keeps a container from starting.
   */
  #anyHeld(resource: string): boolean {
    return this.#held(resource).length > 0 || isUnreadable(this.#kubeletDir);
  }

  /** Device IDs that containers hold by the checkpoint, or by answers that it may not have yet. */
  #held(resource: string): readonly string[] {
    const since = this.#now() - UNRECORDED_MS;
    const answered = [...this.#answered.get(resource) ?? []].filter(([, at]) => at >= since).map(([id]) => id);
    return [...heldDevices(this.#kubeletDir)?.get(resource) ?? [], ...answered];
  }

  /** Whether a container may hold the HCA. Where IDs are not HCA names, any held ID may refer to it. */
  #isHeld(spec: ResourceSpec, hca: string): boolean {
    if (isUnreadable(this.#kubeletDir)) return true;
    const ids = this.#held(spec.name);
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
