/**
 * The node as it is reported to Kubernetes: devices with their health and reasons, and adapters that are in no resource.
 * Pure.
 *
 * @module
 */
import type { Inventory } from "../agent/inventory.ts";
import type { DeviceState } from "../pool/states.ts";

/** One member of a resource. */
export interface ReportedDevice {
  readonly resource: string;
  /** Member ID: the HCA's name or the address of its PCI function. */
  readonly device: string;
  /** Names of its HCAs, joined by "+". */
  readonly hca: string;
  readonly healthy: boolean;
  /** False while it is gone and its grace time runs. */
  readonly present: boolean;
  /** Port of the reason; null for the whole HCA. */
  readonly port: number | null;
  /** Empty when it is healthy. */
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
 * @param before the view of the last scan: a device that settles keeps the reason why it was Unhealthy, so that what is
 *   reported does not change with every step of a recovery
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
  const { member, present, port } = state;
  // A device that a ResourceClaim has is in use, which the kubelet's list calls Unhealthy.
  const healthy = state.healthy || member.claimedBy !== undefined;
  const settles = !healthy && present && state.fitSince !== null && before !== undefined && !before.healthy;
  return {
    resource,
    device,
    hca: member.hcas.map((hca) => hca.name).join("+") || device,
    healthy,
    present,
    port: settles ? before.port : port,
    reason: healthy ? "" : settles ? before.reason : state.reason,
  };
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
