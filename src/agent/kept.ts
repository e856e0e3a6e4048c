/**
 * State from before the plugin started: the devices in the kubelet's list, and net devices that are in pods. An HCA
 * whose net device is in a pod has no name that a configuration could match, but is the same HCA.
 *
 * @module
 */
import { join } from "node:path";
import { NetdevFile, type NetdevMemory } from "../hca/netdev_memory.ts";
import { heldDevices, registeredDevices } from "../kubelet/checkpoint.ts";
import { SHARE_MARK } from "../pool/devices.ts";
import type { MemberIds } from "../pool/select.ts";
import type { ResourceSpec } from "../pool/spec.ts";
import type { PoolStates } from "../pool/states.ts";
import type { Log } from "../text/log.ts";

/** Device IDs by resource. */
export type DeviceIds = ReadonlyMap<string, ReadonlySet<string>>;

/** The kubelet's checkpoint. */
export interface KubeletRecord {
  /** Devices that pods hold now; null when it is not known. */
  readonly held: () => DeviceIds | null;
  /** Devices that pods held or that were in a list when this process started. */
  readonly former: () => DeviceIds;
}

/** File in the kubelet's directory with the net devices that are in pods, for the next plugin process. */
const NETDEV_FILE = "rdma-netdevs.json";

/** Reads the checkpoint of a kubelet's directory on each call. */
export function kubeletRecord(kubeletDir: string): KubeletRecord {
  let former: DeviceIds | null = null;
  return {
    held: () => heldDevices(kubeletDir),
    former: () => former ??= merge(heldDevices(kubeletDir) ?? new Map(), registeredDevices(kubeletDir)),
  };
}

/** Members of device IDs. The ID of a device of a whole pool contains no member. */
export function membersOf(specs: readonly ResourceSpec[], devices: DeviceIds): MemberIds {
  return new Map(specs.map(({ name, mode }) => {
    const ids = mode.kind === "shared" && mode.of === "all" ? [] : [...devices.get(name) ?? []];
    const members = ids.map((id) =>
      mode.kind === "exclusive" ? id : id.slice(0, Math.max(0, id.lastIndexOf(SHARE_MARK)))
    );
    return [name, new Set(members.filter((id) => id !== ""))];
  }));
}

/** Members now and before this process started; a resource with a changed spec starts from the checkpoint alone. */
export function keptMembers(specs: readonly ResourceSpec[], states: PoolStates, former: DeviceIds): MemberIds {
  const now = new Map(specs.map((spec) => {
    const state = states.get(spec.name);
    const here = [...state?.deviceStates ?? []].flatMap(([id, one]) => one.present ? [id] : []);
    return [spec.name, new Set(state?.spec === spec ? here : [])] as const;
  }));
  return merge(now, membersOf(specs, former));
}

function merge(a: DeviceIds, b: DeviceIds): DeviceIds {
  const names = new Set([...a.keys(), ...b.keys()]);
  return new Map([...names].map((name) => [name, new Set([...a.get(name) ?? [], ...b.get(name) ?? []])]));
}

/** Restores a memory from the file of an earlier process. */
export function restoreNetdevs(memory: NetdevMemory, kubeletDir: string): NetdevFile {
  const file = new NetdevFile(join(kubeletDir, NETDEV_FILE));
  memory.restore(file.read());
  return file;
}

/** Stores the net devices that are in pods, for the next plugin process. */
export class NetdevKeeper {
  readonly #memory: NetdevMemory;
  readonly #file: NetdevFile;
  readonly #log: Log;
  #failed = false;

  constructor(memory: NetdevMemory, kubeletDir: string, log: Log) {
    this.#memory = memory;
    this.#file = restoreNetdevs(memory, kubeletDir);
    this.#log = log;
  }

  /** @param removed whether the file may have been removed: a kubelet that starts empties its directory */
  keep({ removed = false } = {}): void {
    try {
      this.#file.write(this.#memory.text, removed);
      this.#failed = false;
    } catch (error) {
      const consequence = "after a restart the plugin may not know which HCAs pods use";
      if (!this.#failed) this.#log.warn(`Cannot write ${NETDEV_FILE}: ${(error as Error).message}; ${consequence}`);
      this.#failed = true;
    }
  }
}
