/**
 * The kubelet's accounting: the devices that a plugin listed, the pods that hold them, and the choice of devices for a
 * pod. Plain values and pure functions.
 *
 * @module
 */
import { type Device, HEALTHY } from "../../src/kubelet/api.ts";

/** One device in the kubelet's state. */
export interface DeviceState {
  readonly id: string;
  /** The plugin's value, or "Unhealthy" after its stream ended. Only "Healthy" counts as healthy. */
  readonly health: string;
  /** NUMA nodes; empty when the plugin sent no topology. */
  readonly numa: readonly number[];
}

/** Devices held by one container of a pod, as stored in the checkpoint. */
export interface Allocation {
  /** Pod UID; the fake uses the pod's name. */
  readonly pod: string;
  readonly container: string;
  readonly resource: string;
  /** NUMA node → device IDs; -1 for devices without a node. A device with two nodes is under both. */
  readonly perNuma: Readonly<Record<string, readonly string[]>>;
  /** The plugin's ContainerAllocateResponse, serialized. */
  readonly response: Uint8Array;
}

/** Converts the devices of a `ListAndWatchResponse`. If an ID is listed twice, the last one is used. */
export function fromList(devices: readonly Device[]): readonly DeviceState[] {
  const byId = new Map<string, DeviceState>();
  for (const { ID = "", health = "", topology } of devices) {
    byId.set(ID, { id: ID, health, numa: (topology?.nodes ?? []).map((node) => Number(node.ID ?? 0)) });
  }
  return [...byId.values()];
}

/** Device IDs of an allocation, without duplicates. */
export function idsOf(allocation: Allocation): readonly string[] {
  return [...new Set(Object.values(allocation.perNuma).flat())];
}

/** Groups chosen devices by NUMA node for the checkpoint. */
export function perNuma(ids: readonly string[], devices: readonly DeviceState[]): Record<string, readonly string[]> {
  const numaOf = new Map(devices.map((device) => [device.id, device.numa]));
  const groups = new Map<number, string[]>();
  for (const id of ids) {
    const nodes = numaOf.get(id) ?? [];
    for (const node of nodes.length === 0 ? [-1] : nodes) groups.set(node, [...(groups.get(node) ?? []), id]);
  }
  return Object.fromEntries([...groups].map(([node, group]) => [String(node), group]));
}

/** Input of the choice. */
export interface Choice {
  readonly resource: string;
  readonly devices: readonly DeviceState[];
  /** IDs held by containers. */
  readonly inUse: ReadonlySet<string>;
  readonly count: number;
  /** IDs that must be chosen (in the real kubelet: devices of the pod's finished init containers). */
  readonly mustInclude: readonly string[];
  /** NUMA node of the topology manager's hint; null without alignment. */
  readonly numaNode: number | null;
}

/** Asks the plugin for its preference; null when it does not support GetPreferredAllocation. */
export type AskPreference =
  | ((available: readonly string[], mustInclude: readonly string[], size: number) => Promise<readonly string[]>)
  | null;

/**
 * Chooses `count` devices as the kubelet's device manager does: first those that must be included, then, with topology
 * alignment, devices of the wanted NUMA node. The plugin is only asked when there is a choice. IDs in its answer that
 * are not available are ignored, and missing ones are filled up.
 *
 * @throws Error with the reason when there are not enough devices, or when the plugin's preference fails.
 */
export async function choose(choice: Choice, ask: AskPreference): Promise<readonly string[]> {
  const { resource, devices, inUse, count, mustInclude, numaNode } = choice;
  const healthy = devices.filter((device) => device.health === HEALTHY);
  if (healthy.length === 0) throw new Error(`no healthy device of ${resource} is on this node`);
  const free = healthy.filter((device) => !inUse.has(device.id));
  const freeIds = new Set(free.map((device) => device.id));
  const lost = mustInclude.filter((id) => !freeIds.has(id));
  if (lost.length > 0) throw new Error(`device ${lost.join(", ")} of ${resource} must be used but is not available`);
  if (free.length < count) {
    throw new Error(`${count} of ${resource} requested, ${free.length} available (${healthy.length} healthy)`);
  }

  const chosen = new Set(mustInclude.slice(0, count));
  const take = (ids: Iterable<string>) => {
    for (const id of ids) if (chosen.size < count) chosen.add(id);
    return chosen.size === count;
  };
  const consult = async (available: readonly string[]) => {
    if (ask === null) return [];
    const offered = new Set(available);
    return (await ask(available, [...chosen], count)).filter((id) => offered.has(id));
  };
  if (chosen.size === count) return [...chosen];

  const { aligned, others } = align(free, numaNode);
  if (aligned.filter((id) => !chosen.has(id)).length > count - chosen.size) {
    take(await consult([...new Set([...aligned, ...chosen])]));
    take(aligned);
    return [...chosen];
  }
  if (take(aligned)) return [...chosen];
  take(await consult(free.map((device) => device.id)));
  take(others);
  return [...chosen];
}

function align(free: readonly DeviceState[], node: number | null): { aligned: string[]; others: string[] } {
  const ids = (devices: readonly DeviceState[]) => devices.map((device) => device.id);
  if (node === null) return { aligned: [], others: ids(free) };
  const elsewhere = free.filter((device) => device.numa.length > 0 && !device.numa.includes(node));
  const nowhere = free.filter((device) => device.numa.length === 0);
  return { aligned: ids(free.filter((device) => device.numa.includes(node))), others: ids([...elsewhere, ...nowhere]) };
}
