/**
 * The node as it is reported to Kubernetes: devices with their health and reasons, and adapters that are in no resource.
 * Pure.
 *
 * @module
 */
import type { Inventory } from "../agent/inventory.ts";
import type { UnhealthyCode } from "../pool/reasons.ts";
import type { DeviceState } from "../pool/states.ts";

/** One member of a resource. */
export interface ReportedDevice {
  readonly resource: string;
  /** Member ID: the HCA's name or the address of its PCI function. */
  readonly device: string;
  /** Names of its HCAs, joined by "+". */
  readonly hca: string;
  readonly healthy: boolean;
  /** Why it is not healthy; null when it is healthy. */
  readonly code: UnhealthyCode | null;
  /** Port of the reason; null for the whole HCA. */
  readonly port: number | null;
  /** The same for people; empty when it is healthy. */
  readonly reason: string;
}

/** An adapter that no resource has. */
export interface LeftOutAdapter {
  readonly hca: string;
  readonly reason: string;
}

export interface NodeView {
  /** By resource and device. */
  readonly devices: ReadonlyMap<string, ReportedDevice>;
  readonly leftOut: readonly LeftOutAdapter[];
}

/**
 * @param before the view of the last scan: a device that settles keeps the reason why it was Unhealthy, and one whose
 *   counter goes on counting its first, so that what is reported does not change with every scan
 */
export function viewOf(inventory: Inventory, before: NodeView | null): NodeView {
  const devices = new Map<string, ReportedDevice>();
  for (const [resource, { deviceStates }] of inventory.states) {
    for (const [device, state] of deviceStates) {
      const key = keyOf(resource, device);
      devices.set(key, reported(resource, device, state, before?.devices.get(key)));
    }
  }
  return { devices, leftOut: leftOutOfAll(inventory) };
}

function reported(
  resource: string,
  device: string,
  state: DeviceState,
  before: ReportedDevice | undefined,
): ReportedDevice {
  const { member, code, port } = state;
  const hca = member.hcas.map((one) => one.name).join("+") || device;
  // A device that a ResourceClaim has is in use, which the kubelet's list calls Unhealthy.
  const healthy = state.healthy || member.claimedBy !== undefined;
  if (healthy) return { resource, device, hca, healthy, code: null, port, reason: "" };
  // A device that settles is no better yet, and a counter that goes on counting is no other reason.
  const goesOn = code === "settling" || (code === "counter-errors" && before?.code === code && before.port === port);
  if (goesOn && before !== undefined && !before.healthy) return { ...before, hca };
  return { resource, device, hca, healthy, code, port, reason: state.reason };
}

/** Key of a device in {@link NodeView.devices}. */
export function keyOf(resource: string, device: string): string {
  return `${resource} ${device}`;
}

/** Adapters that are in some resource are left out of the others on purpose. */
function leftOutOfAll({ snapshot, states, leftOut }: Inventory): readonly LeftOutAdapter[] {
  const used = new Set(
    [...states.values()].flatMap(({ deviceStates }) =>
      [...deviceStates.values()].flatMap(({ member }) => member.hcas.map((hca) => hca.name))
    ),
  );
  return snapshot.hcas.filter((hca) => !used.has(hca.name) && hca.subdeviceOf === null).map(({ name }) => {
    const reasons = leftOut.filter((one) => one.hca === name);
    const [first] = reasons;
    const same = reasons.every((one) => one.reason === first?.reason);
    const reason = first === undefined
      ? "no resource selects it"
      : same
      ? first.reason
      : reasons.map((one) => `${one.resource}: ${one.reason}`).join(", ");
    return { hca: name, reason };
  });
}
