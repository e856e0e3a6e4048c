/**
 * The containers that hold HCAs through the device plugin API, according to the kubelet. Pure.
 *
 * @module
 */
import type { Hca } from "../hca/types.ts";
import type { Holder } from "../kubelet/pod_resources.ts";
import { membersOf, SHARE_MARK } from "../pool/devices.ts";
import type { PoolState, PoolStates } from "../pool/states.ts";

/** The containers that hold devices, by resource and device ID. */
export type Holders = ReadonlyMap<string, ReadonlyMap<string, readonly Holder[]>>;

/**
 * Holders by HCA name, as phrases: "pod ns/name through tencent.com/rdma".
 *
 * For a resource that this configuration offers through the device plugin API, its pool maps device IDs to HCAs. Other
 * resources belong to another plugin, or were offered by this node before it was switched to DRA: their device IDs are
 * the HCA's name or PCI address, with or without a share number. An ID that is only a number stands for every HCA of
 * the resource of the same name, and for nothing if there is no such resource.
 */
export function heldHcas(holders: Holders, states: PoolStates, hcas: readonly Hca[]): ReadonlyMap<string, string> {
  const held = new Map<string, string>();
  const byId = new Map<string, readonly Hca[]>(hcas.map((hca) => [hca.name, [hca]]));
  for (const hca of hcas) {
    if (hca.pci === null || hca.kind === "sf") continue;
    byId.set(hca.pci.address, [...byId.get(hca.pci.address) ?? [], hca]);
  }
  for (const [resource, devices] of holders) {
    const poolState = states.get(resource);
    for (const [id, containers] of devices) {
      const first = containers[0];
      if (first === undefined) continue;
      for (const hca of hcasOf(poolState, id, byId)) {
        if (!held.has(hca.name)) held.set(hca.name, `pod ${first.namespace}/${first.pod} through ${resource}`);
      }
    }
  }
  return held;
}

function hcasOf(
  poolState: PoolState | undefined,
  id: string,
  byId: ReadonlyMap<string, readonly Hca[]>,
): readonly Hca[] {
  if (poolState !== undefined && poolState.spec.api === "device-plugin") {
    const members = membersOf(poolState, id);
    if (members !== null) return members.flatMap((one) => one.member.hcas);
  }
  const base = id.includes(SHARE_MARK) ? id.slice(0, id.lastIndexOf(SHARE_MARK)) : id;
  const named = byId.get(base);
  if (named !== undefined) return named;
  if (poolState === undefined || !/^\d+$/.test(id)) return [];
  return [...poolState.deviceStates.values()].flatMap((one) => one.member.hcas);
}
