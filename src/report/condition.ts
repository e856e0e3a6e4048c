/**
 * The Node condition RDMAReady: whether every device of the node is as pods need it. Pure.
 *
 * @module
 */
import { cut } from "../kubernetes/core_api.ts";
import { printable } from "../text/printable.ts";
import type { NodeView, ReportedDevice } from "./view.ts";

export const CONDITION = "RDMAReady";

/** Reasons of the condition, in the form that Kubernetes wants. */
export type ConditionReason = "AllDevicesHealthy" | "DevicesUnhealthy" | "NotRegistered" | "NoDevices";

export interface Condition {
  readonly status: "True" | "False";
  readonly reason: ConditionReason;
  readonly message: string;
}

/** What is known when one is made. */
export interface Reported {
  readonly view: NodeView;
  /** Keys of devices that flap: they are not ready, however they are right now. */
  readonly flapping: ReadonlySet<string>;
  /** Reasons by resource that the kubelet has not had for long. */
  readonly late: ReadonlyMap<string, string>;
}

const LONGEST_MESSAGE = 1_024;
const MOST_NAMES = 8;

/**
 * Null on a node without adapters, which has no condition until it gets one. A device is named once, in however many
 * resources it is.
 */
export function conditionOf({ view, flapping, late }: Reported): Condition | null {
  const { devices, leftOut } = view;
  const spare = leftOut.length === 0 ? "" : `; ${counted(leftOut.length, "adapter is", "adapters are")} in no resource`;
  const no = (reason: ConditionReason, message: string): Condition => (
    { status: "False", reason, message: cut(printable(message), LONGEST_MESSAGE) }
  );
  if (late.size > 0) {
    return no(
      "NotRegistered",
      [...late].map(([resource, reason]) => `${resource} is not registered with the kubelet: ${reason}`).join("; "),
    );
  }
  if (devices.size === 0) {
    return leftOut.length === 0 ? null : no("NoDevices", `no device is on offer${spare}`);
  }
  const bad = [...devices].filter(([key, one]) => isBad(key, one, flapping));
  if (bad.length === 0) {
    const message = `${counted(devices.size, "device is", "devices are")} healthy${spare}`;
    return { status: "True", reason: "AllDevicesHealthy", message };
  }
  const reasons = [...new Set(bad.map(([key, one]) => `${one.hca}: ${reasonOf(key, one, flapping)}`))];
  const more = reasons.length - MOST_NAMES;
  const named = [...reasons.slice(0, MOST_NAMES), ...more > 0 ? [`${more} more`] : []].join("; ");
  return no("DevicesUnhealthy", `${bad.length} of ${counted(devices.size, "device", "devices")} not healthy: ${named}`);
}

/** Whether a device counts as not ready. */
export function isBad(key: string, { healthy }: ReportedDevice, flapping: ReadonlySet<string>): boolean {
  return !healthy || flapping.has(key);
}

/** While it flaps the sentence stays the same, so that it is written once. */
function reasonOf(key: string, { reason }: ReportedDevice, flapping: ReadonlySet<string>): string {
  return flapping.has(key) ? "it goes down again and again" : reason;
}

function counted(n: number, one: string, many: string): string {
  return `${n} ${n === 1 ? one : many}`;
}
