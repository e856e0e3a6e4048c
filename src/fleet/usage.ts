/**
 * How many devices of each resource a node has, and how many of them pods have. Pure.
 *
 * @module
 */
import type { ClaimedDevice, ClaimFacts, DeviceFacts, NodeFacts, PodFacts } from "./facts.ts";

/** One resource of one node. Shares of a shared device count as devices, as in the kubelet's list. */
export interface ResourceUse {
  readonly name: string;
  readonly api: "device-plugin" | "dra";
  readonly capacity: number;
  /** Those that new pods can get. */
  readonly allocatable: number;
  /** Null when pods, or claims, cannot be read. */
  readonly used: number | null;
}

/** A claim's part of a device, and the pods that use the claim. */
export interface Holding {
  readonly claimed: ClaimedDevice;
  readonly pods: readonly string[];
}

/** Key of a device in the map that {@link holdings} gives. */
export function deviceKey(pool: string, device: string): string {
  return `${pool}/${device}`;
}

/** What claims have, by device. */
export function holdings(claims: Iterable<ClaimFacts>): ReadonlyMap<string, readonly Holding[]> {
  const found = new Map<string, Holding[]>();
  for (const { devices, pods } of claims) {
    for (const claimed of devices) {
      const key = deviceKey(claimed.pool, claimed.device);
      const known = found.get(key);
      if (known === undefined) found.set(key, [{ claimed, pods }]);
      else known.push({ claimed, pods });
    }
  }
  return found;
}

/** Resources of the device plugin. @param pods of this node; null when they cannot be read */
export function pluginUse(node: NodeFacts, pods: readonly PodFacts[] | null): readonly ResourceUse[] {
  return node.resources.map(({ name, capacity, allocatable }) => ({
    name,
    api: "device-plugin",
    capacity,
    allocatable,
    used: pods === null ? null : pods.reduce((sum, one) => sum + (one.requests[name] ?? 0), 0),
  }));
}

/** Resources of DRA. @param held null when claims cannot be read */
export function draUse(
  pool: string,
  devices: readonly DeviceFacts[],
  held: ReadonlyMap<string, readonly Holding[]> | null,
): readonly ResourceUse[] {
  const found = new Map<string, { capacity: number; allocatable: number; used: number }>();
  for (const { name, resource, shares, taint } of devices) {
    const sum = found.get(resource) ?? { capacity: 0, allocatable: 0, used: 0 };
    found.set(resource, sum);
    sum.capacity += shares;
    if (taint === null || !taint.blocks) sum.allocatable += shares;
    for (const { claimed } of held?.get(deviceKey(pool, name)) ?? []) sum.used += claimed.shares;
  }
  return [...found].map(([name, { capacity, allocatable, used }]) => ({
    name,
    api: "dra",
    capacity,
    allocatable,
    used: held === null ? null : used,
  }));
}
