/**
 * The devices of a resource as the kubelet sees them: members of a pool as IDs with health and NUMA nodes. Pure.
 *
 * @module
 */
import type { DeviceState, PoolState } from "./states.ts";

/** One device of the list sent to the kubelet. */
export interface OfferedDevice {
  readonly id: string;
  readonly healthy: boolean;
  /** NUMA nodes, ascending; empty when the kernel has none (-1), which the kubelet treats as no affinity. */
  readonly numaNodes: readonly number[];
}

/** Separates the HCA from the share number in IDs of `shared`, `one`. */
export const SHARE_MARK = "::";

/** The full device list for the kubelet, in natural order of IDs. */
export function devices(poolState: PoolState): readonly OfferedDevice[] {
  const { spec, deviceStates } = poolState;
  const all = [...deviceStates.values()];
  if (spec.mode.kind === "exclusive") {
    return all.map((deviceState) => ({ id: deviceState.member.id, ...condition(poolState, [deviceState]) }));
  }
  // The common part of all shares is computed once and is one object: lists of thousands are sent on every change.
  const shares = Array.from({ length: spec.mode.shares }, (_, k) => k);
  if (spec.mode.of === "one") {
    return all.flatMap((deviceState) => {
      const common = condition(poolState, [deviceState]);
      return shares.map((k) => ({ id: `${deviceState.member.id}${SHARE_MARK}${k}`, ...common }));
    });
  }
  // A pool without HCAs has nothing to share and offers no devices.
  if (all.length === 0) return [];
  const common = condition(poolState, all);
  return shares.map((k) => ({ id: String(k), ...common }));
}

/** A device on several HCAs is healthy while at least one of them is. */
function condition(poolState: PoolState, on: readonly DeviceState[]): Omit<OfferedDevice, "id"> {
  const nodes = poolState.spec.topology
    ? on.flatMap((deviceState) => deviceState.member.hcas.flatMap((hca) => hca.pci?.numaNode ?? []))
    : [];
  return {
    healthy: on.some((deviceState) => deviceState.healthy),
    numaNodes: [...new Set(nodes)].sort((a, b) => a - b),
  };
}

/** The states of the members of a device ID; null when the resource has no such device. */
export function membersOf(poolState: PoolState, id: string): readonly DeviceState[] | null {
  const { spec, deviceStates } = poolState;
  if (spec.mode.kind === "exclusive") {
    const one = deviceStates.get(id);
    return one === undefined ? null : [one];
  }
  if (spec.mode.of === "one") {
    const at = id.lastIndexOf(SHARE_MARK);
    const one = at < 0 ? undefined : deviceStates.get(id.slice(0, at));
    return one !== undefined && isShare(id.slice(at + SHARE_MARK.length), spec.mode.shares) ? [one] : null;
  }
  return deviceStates.size > 0 && isShare(id, spec.mode.shares) ? [...deviceStates.values()] : null;
}

function isShare(text: string, shares: number): boolean {
  return /^(0|[1-9]\d{0,6})$/.test(text) && Number(text) < shares;
}
