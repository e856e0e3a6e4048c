/**
 * The kubelet's devices: how members of a pool become IDs with health and NUMA nodes. Pure.
 *
 * @module
 */
import type { DeviceState, PoolState } from "./states.ts";

/** One device of the list that the kubelet sees. */
export interface OfferedDevice {
  readonly id: string;
  readonly healthy: boolean;
  /** NUMA nodes, ascending; empty when the kernel does not say (-1): the kubelet then treats it as anywhere. */
  readonly numaNodes: readonly number[];
}

/** Between the HCA and the number of the share in IDs of `shared`, `one`. */
export const SHARE_MARK = "::";

/** The full list for the kubelet, in natural order of IDs. */
export function devices(poolState: PoolState): readonly OfferedDevice[] {
  const { spec, deviceStates } = poolState;
  const all = [...deviceStates.values()];
  if (spec.mode.kind === "exclusive") {
    return all.map((deviceState) => ({ id: deviceState.member.id, ...condition(poolState, [deviceState]) }));
  }
  // What shares have in common is found out once, and is one object: lists of thousands are sent with every change.
  const shares = Array.from({ length: spec.mode.shares }, (_, k) => k);
  if (spec.mode.of === "one") {
    return all.flatMap((deviceState) => {
      const common = condition(poolState, [deviceState]);
      return shares.map((k) => ({ id: `${deviceState.member.id}${SHARE_MARK}${k}`, ...common }));
    });
  }
  // A pool without any HCA has nothing to share: it offers no devices, not N that cannot work.
  if (all.length === 0) return [];
  const common = condition(poolState, all);
  return shares.map((k) => ({ id: String(k), ...common }));
}

/** A device on several HCAs is healthy while one of them is. */
function condition(poolState: PoolState, on: readonly DeviceState[]): Omit<OfferedDevice, "id"> {
  const nodes = poolState.spec.topology
    ? on.flatMap((deviceState) => deviceState.member.hcas.flatMap((hca) => hca.pci?.numaNode ?? []))
    : [];
  return {
    healthy: on.some((deviceState) => deviceState.healthy),
    numaNodes: [...new Set(nodes)].sort((a, b) => a - b),
  };
}

/** The device states behind a device ID; null when the resource has no such device. */
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
