/**
 * Converts pool states to devices of ResourceSlices: names, attributes, capacities, taints and counters. Pure.
 *
 * @module
 */
import type { NetnsMode } from "../hca/types.ts";
import type { Attributes } from "./attributes.ts";
import { attributes, capacities } from "./attributes.ts";
import { quantity } from "../kubernetes/quantity.ts";
import type { CounterSet, DeviceTaint, SliceDevice } from "../kubernetes/resource_api.ts";
import type { DeviceState, PoolStates } from "../pool/states.ts";
import type { ResourceSpec } from "../pool/spec.ts";
import { dashes, deviceName } from "./names.ts";

/** Fields that the API server drops unless their feature gate is on. */
export interface Features {
  readonly taints: boolean;
  readonly sharing: boolean;
  readonly counters: boolean;
}

export const ALL_FEATURES: Features = { taints: true, sharing: true, counters: true };

/** A device that can be allocated to claims. */
export interface DraDevice {
  readonly name: string;
  readonly spec: ResourceSpec;
  readonly state: DeviceState;
  /** The pod that holds it through the device plugin API, as a phrase; null for none. */
  readonly heldBy: string | null;
  /** True while it keeps its taint although it is up, because it went down too often recently. */
  readonly flapping: boolean;
}

/** Everything that determines the content of the slices. */
export interface PublishedState {
  readonly devices: readonly DraDevice[];
  readonly netnsMode: NetnsMode;
  readonly features: Features;
  /** Published attributes by device name, for values that a scan may not find. */
  readonly known: ReadonlyMap<string, Attributes>;
}

/** Devices, and the counters that they consume. */
export interface Published {
  readonly devices: readonly SliceDevice[];
  readonly counters: readonly CounterSet[];
  /** One sentence for each device that is left out or restricted, with the reason. */
  readonly notes: readonly string[];
}

/**
 * The devices of all resources with `api: dra`, in the order of preference: resources as configured, HCAs by name.
 *
 * @param heldBy holders through the device plugin API, by HCA name
 */
export function draDevices(
  states: PoolStates,
  heldBy: ReadonlyMap<string, string>,
): { readonly devices: readonly DraDevice[]; readonly notes: readonly string[] } {
  const notes: string[] = [];
  const byName = new Map<string, DraDevice>();
  for (const { spec, deviceStates } of states.values()) {
    if (spec.api !== "dra") continue;
    for (const state of deviceStates.values()) {
      if (state.member.hcas.length === 0) continue;
      const name = deviceName(state.member);
      const holder = state.member.hcas.map((hca) => heldBy.get(hca.name)).find((one) => one !== undefined) ?? null;
      const other = byName.get(name);
      if (other !== undefined) {
        notes.push(`${state.member.id} is not offered: ${other.state.member.id} has its device name ${name} already`);
      } else byName.set(name, { name, spec, state, heldBy: holder, flapping: false });
    }
  }
  return { devices: [...byName.values()], notes };
}

/** The content of the slices. */
export function publish({ devices, netnsMode, features, known }: PublishedState): Published {
  const notes: string[] = [];
  const groups = features.counters ? functionGroups(devices) : new Map<string, FunctionGroup>();
  const published = devices.flatMap((device): SliceDevice[] => {
    const all = taintsOf(device);
    const blocking = all.find((one) => one.effect !== "None");
    if (blocking !== undefined && !features.taints) {
      notes.push(
        `${device.name} is left out: ${blocking.key}, and the API server drops taints (gate DRADeviceTaints is off)`,
      );
      return [];
    }
    if (!features.counters && functionGroups(devices).get(pfOf(device) ?? "")?.pf === device) {
      notes.push(
        `${device.name} is left out: its VFs are offered, and the API server drops counters (gate DRAPartitionableDevices is off)`,
      );
      return [];
    }
    const taints = features.taints ? all : [];
    return [sliceDevice(device, taints, groups, netnsMode, features, known.get(device.name), notes)];
  });
  const counters = [...groups.values()].map((one): CounterSet => ({
    name: one.set,
    counters: { vfs: { value: quantity(one.total) } },
  }));
  return { devices: published, counters, notes };
}

function sliceDevice(
  device: DraDevice,
  taints: readonly DeviceTaint[],
  groups: ReadonlyMap<string, FunctionGroup>,
  netnsMode: NetnsMode,
  features: Features,
  known: Attributes | undefined,
  notes: string[],
): SliceDevice {
  const { spec, state, name } = device;
  const wanted = spec.mode.kind === "shared";
  if (wanted && netnsMode === "exclusive") {
    notes.push(`${name} cannot be shared: the RDMA net namespace mode is exclusive, and one pod only can have it`);
  } else if (wanted && !features.sharing) {
    notes.push(
      `${name} cannot be shared: the API server drops allowMultipleAllocations (gate DRAConsumableCapacity is off)`,
    );
  }
  const shared = wanted && netnsMode !== "exclusive" && features.sharing;
  const described = attributes(spec, state.member, netnsMode, known);
  const capacity = capacities(spec, described.rateGbps?.int ?? null, shared);
  const group = wanted ? undefined : groups.get(pfOf(device) ?? "");
  return {
    name,
    attributes: described,
    ...Object.keys(capacity).length === 0 ? {} : { capacity },
    ...shared ? { allowMultipleAllocations: true } : {},
    ...taints.length === 0 ? {} : { taints },
    ...group === undefined ? {} : {
      consumesCounters: [{
        counterSet: group.set,
        counters: { vfs: { value: quantity(group.pf === device ? group.total : 1) } },
      }],
    },
  };
}

/** Keys of taints, below the driver's domain. */
export const TAINT_DOMAIN = "rdma.tencent.com";

/** The taints of a device: the reasons why no new pod should get it. */
export function taintsOf({ spec, state, heldBy, flapping }: DraDevice): readonly DeviceTaint[] {
  const { taint: effect } = spec.dra;
  const found: DeviceTaint[] = [];
  if (!state.present) found.push({ key: `${TAINT_DOMAIN}/gone`, effect });
  else if (!state.healthy) {
    const noNode = state.code === "node-missing" || state.member.hcas.some((hca) => !hca.uverbs?.present);
    const key = noNode ? "no-device-node" : state.counter !== null ? "counter-errors" : "link-down";
    found.push({ key: `${TAINT_DOMAIN}/${key}`, effect });
  } else if (flapping) {
    found.push({ key: `${TAINT_DOMAIN}/link-down`, effect: effect === "NoExecute" ? "NoSchedule" : effect });
  }
  // The holder must not be evicted because of this taint.
  if (heldBy !== null) found.push({ key: `${TAINT_DOMAIN}/held-by-device-plugin`, effect: "NoSchedule" });
  return found;
}

interface FunctionGroup {
  readonly set: string;
  readonly pf: DraDevice;
  readonly total: number;
}

/**
 * PFs that are offered together with their VFs and exclude them (`pfExcludesVfs`), by PCI address. Shared devices are
 * not counted: the configuration does not allow sharing together with `pfExcludesVfs`.
 */
function functionGroups(all: readonly DraDevice[]): ReadonlyMap<string, FunctionGroup> {
  const devices = all.filter(({ spec }) => spec.mode.kind === "exclusive");
  const groups = new Map<string, FunctionGroup>();
  for (const device of devices) {
    const hca = device.state.member.hcas[0]!;
    const address = hca.pci?.address;
    if (hca.kind !== "pf" || address === undefined) continue;
    const vfs = devices.filter((one) => one.state.member.hcas[0]!.pci?.physfn === address);
    if (vfs.length === 0 || ![device, ...vfs].some((one) => one.spec.dra.pfExcludesVfs)) continue;
    const total = Math.max(vfs.length, hca.pci?.sriovTotalVfs ?? 0, hca.pci?.sriovNumVfs ?? 0);
    groups.set(address, { set: `pf-${dashes(address)}`, pf: device, total });
  }
  return groups;
}

function pfOf({ state }: DraDevice): string | null {
  const hca = state.member.hcas[0]!;
  return hca.kind === "sf" ? null : hca.pci?.physfn ?? hca.pci?.address ?? null;
}
