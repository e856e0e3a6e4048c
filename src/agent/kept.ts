/**
 * What a plugin that starts knows of the time before: which members the kubelet's checkpoint says there were. An HCA
 * whose net device is in a pod has no name that a configuration could match, and is still the same HCA.
 *
 * @module
 */
import { heldDevices, registeredDevices } from "../kubelet/checkpoint.ts";
import { SHARE_MARK } from "../pool/devices.ts";
import type { MemberIds } from "../pool/select.ts";
import type { ResourceSpec } from "../pool/spec.ts";
import type { PoolStates } from "../pool/states.ts";

/** In the kubelet's directory: what the plugin knows of net devices that are in pods, for the next one that starts. */
export const NETDEV_FILE = "rdma-netdevs.json";

/** Members whose devices pods hold, by resource; a device on a whole pool says nothing about one member. */
export function heldMembers(specs: readonly ResourceSpec[], kubeletDir: string): MemberIds {
  const held = heldDevices(kubeletDir);
  return new Map(specs.map((spec) => [spec.name, membersOf(spec, held.get(spec.name))]));
}

/** Members that the kubelet had in its list, or that pods hold, by resource. */
export function formerMembers(specs: readonly ResourceSpec[], kubeletDir: string): MemberIds {
  const held = heldDevices(kubeletDir), registered = registeredDevices(kubeletDir);
  return new Map(specs.map((spec) => {
    const ids = [...held.get(spec.name) ?? [], ...registered.get(spec.name) ?? []];
    return [spec.name, membersOf(spec, new Set(ids))];
  }));
}

/** Members of now and of before this process; a resource whose spec is another one starts from the checkpoint alone. */
export function keptMembers(specs: readonly ResourceSpec[], states: PoolStates, former: MemberIds): MemberIds {
  return new Map(specs.map((spec) => {
    const state = states.get(spec.name);
    const now = state?.spec === spec ? state.deviceStates.keys() : [];
    return [spec.name, new Set([...now, ...former.get(spec.name) ?? []])];
  }));
}

function membersOf({ mode }: ResourceSpec, devices: ReadonlySet<string> | undefined): ReadonlySet<string> {
  const ids = [...devices ?? []];
  if (mode.kind === "exclusive") return new Set(ids);
  if (mode.of === "all") return new Set();
  return new Set(ids.map((id) => id.slice(0, Math.max(0, id.lastIndexOf(SHARE_MARK)))).filter((id) => id !== ""));
}
