/**
 * What happened between two scans that people should hear of: the difference of two views, as events without an object.
 * Pure.
 *
 * @module
 */
import { isBad, type Reported } from "./condition.ts";
import type { ReportedDevice } from "./view.ts";

export type EventReason =
  | "RDMADeviceUnhealthy"
  | "RDMADeviceHealthy"
  | "RDMAAdapterLeftOut"
  | "RDMARegistrationFailed"
  | "RDMARegistered";

export interface Occurrence {
  /** What belongs to one series: the same thing again. */
  readonly id: string;
  readonly reason: EventReason;
  readonly type: "Normal" | "Warning";
  /** What the plugin did or tried, in the form that Kubernetes wants. */
  readonly action: "HealthCheck" | "Selection" | "Registration";
  readonly note: string;
  /** The device whose pods are concerned, too; null for the node alone. */
  readonly device: Pick<ReportedDevice, "resource" | "device"> | null;
}

/**
 * Every time that a device goes down counts. That it is back counts when it stays so: while it flaps it is not back.
 *
 * @param before null at the start
 */
export function occurrences(before: Reported | null, now: Reported): readonly Occurrence[] {
  return [...ofDevices(before, now), ...ofSelection(before, now), ...ofRegistration(before, now)];
}

function* ofDevices(before: Reported | null, now: Reported): Generator<Occurrence> {
  for (const [key, device] of now.view.devices) {
    const was = before?.view.devices.get(key);
    if (!device.healthy && (was === undefined || was.healthy)) yield unhealthy(device);
    const wasBad = was !== undefined && isBad(key, was, before!.flapping);
    if (wasBad && !isBad(key, device, now.flapping)) yield healthy(device);
  }
}

function unhealthy({ resource, device, hca, port, code, reason }: ReportedDevice): Occurrence {
  return {
    // A port that is down and an HCA that is gone are two things.
    id: `unhealthy ${resource} ${device} ${code} ${port ?? ""}`,
    reason: "RDMADeviceUnhealthy",
    type: "Warning",
    action: "HealthCheck",
    note: `${hca} of ${resource} is Unhealthy: ${reason}`,
    device: { resource, device },
  };
}

function healthy({ resource, device, hca }: ReportedDevice): Occurrence {
  return {
    id: `healthy ${resource} ${device}`,
    reason: "RDMADeviceHealthy",
    type: "Normal",
    action: "HealthCheck",
    note: `${hca} of ${resource} is Healthy again`,
    device: { resource, device },
  };
}

/** One event for all of them: a node may have many adapters that no pod is meant to get. */
function* ofSelection(before: Reported | null, now: Reported): Generator<Occurrence> {
  const known = new Set(before?.view.leftOut.map((one) => one.hca));
  const found = now.view.leftOut.filter((one) => !known.has(one.hca));
  if (found.length === 0) return;
  yield {
    id: `left out ${found.map((one) => one.hca).join(" ")}`,
    reason: "RDMAAdapterLeftOut",
    type: "Normal",
    action: "Selection",
    note: found.map(({ hca, reason }) => `${hca} is in no resource: ${reason}`).join("; "),
    device: null,
  };
}

function* ofRegistration(before: Reported | null, now: Reported): Generator<Occurrence> {
  for (const [resource, reason] of now.late) {
    if (before?.late.has(resource)) continue;
    const note = `${resource} is not registered with the kubelet: ${reason}`;
    yield { id: `late ${resource}`, ...REGISTRATION, reason: "RDMARegistrationFailed", type: "Warning", note };
  }
  for (const resource of before?.late.keys() ?? []) {
    if (now.late.has(resource)) continue;
    const note = `${resource} is registered with the kubelet again`;
    yield { id: `registered ${resource}`, ...REGISTRATION, reason: "RDMARegistered", type: "Normal", note };
  }
}

const REGISTRATION = { action: "Registration", device: null } as const;
