/**
 * Who has an HCA already, as the kubelet tells it: containers that got it through the device plugin API. Pure.
 *
 * @module
 */
import type { Hca } from "../hca/types.ts";
import type { Holder } from "../kubelet/pod_resources.ts";
import { membersOf, SHARE_MARK } from "../pool/devices.ts";
import type { PoolState, PoolStates } from "../pool/states.ts";

/** Devices by resource and ID, with the containers that have them. */
export type Holders = ReadonlyMap<string, ReadonlyMap<string, readonly Holder[]>>;

/**
 * Holders by HCA name, in words: "pod ns/name through tencent.com/rdma".
 *
 * A resource that this configuration offers through the device plugin is read by its own rules. Of any other, which may be
 * what this node offered before it was switched to DRA, or another plugin's, the device ID tells: it is the HCA's name or
 * its PCI address, with or without the number of a share. Numbers alone stand for every HCA of the resource that has the
 * same name now; of a resource that is not known here they say nothing.
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
