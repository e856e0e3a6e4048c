/**
 * Reads the kubelet's checkpoint of device allocations: the devices that running pods hold. This is needed because an
 * HCA that was moved into a pod's RDMA network namespace is not in this machine's sysfs, so a restarted plugin would
 * not know that it exists.
 *
 * @module
 */
import { existsSync, readFileSync } from "node:fs";
import { join } from "node:path";

/** File name in the kubelet's device-plugins directory (kubelet `checkpointmanager`, `devicemanager`). */
const FILE = "kubelet_internal_checkpoint";

/** Resources that plugins have registered, according to the checkpoint. */
export function registeredResources(kubeletDir: string): ReadonlySet<string> {
  return new Set(registeredDevices(kubeletDir).keys());
}

/** Device IDs in the list of each resource, according to the checkpoint. */
export function registeredDevices(kubeletDir: string): ReadonlyMap<string, ReadonlySet<string>> {
  const registered = at(readData(kubeletDir), "RegisteredDevices");
  const entries = isObject(registered) && !Array.isArray(registered) ? Object.entries(registered) : [];
  return new Map(entries.map(([resource, ids]) => {
    return [resource, new Set(Array.isArray(ids) ? ids.filter((id) => typeof id === "string") : [])];
  }));
}

/** Content of the checkpoint; undefined when there is none or its format is unknown. */
function readData(kubeletDir: string): unknown {
  try {
    return at(JSON.parse(readFileSync(join(kubeletDir, FILE), "utf8")), "Data");
  } catch {
    return undefined; // the kubelet writes it when it admits the first pod
  }
}

/** Whether the checkpoint exists but cannot be read, so that the devices of pods are unknown. */
export function isUnreadable(kubeletDir: string): boolean {
  return existsSync(join(kubeletDir, FILE)) && readData(kubeletDir) === undefined;
}

/** Device IDs that pods hold, by resource. Empty when there is no checkpoint or its format is unknown. */
export function heldDevices(kubeletDir: string): ReadonlyMap<string, ReadonlySet<string>> {
  const held = new Map<string, Set<string>>();
  const entries = at(readData(kubeletDir), "PodDeviceEntries");
  for (const entry of Array.isArray(entries) ? entries : []) {
    const resource = at(entry, "ResourceName");
    if (typeof resource !== "string") continue;
    const ids = held.get(resource) ?? new Set();
    held.set(resource, ids);
    // IDs by NUMA node since Kubernetes 1.20; a plain list before. The values of a string would be its letters.
    const listed = at(entry, "DeviceIDs");
    for (const id of isObject(listed) ? Object.values(listed).flat() : []) {
      if (typeof id === "string") ids.add(id);
    }
  }
  return held;
}

function at(value: unknown, key: string): unknown {
  return isObject(value) && Object.hasOwn(value, key) ? value[key] : undefined;
}

function isObject(value: unknown): value is Readonly<Record<string, unknown>> {
  return typeof value === "object" && value !== null;
}
