/**
 * Reads the kubelet's checkpoint of device allocations: the devices that running pods hold. This is needed because an
 * HCA that was moved into a pod's RDMA network namespace is not in this machine's sysfs, so a restarted plugin would
 * not know that it exists.
 *
 * @module
 */
import { readFileSync } from "node:fs";
import { join } from "node:path";
import { exists } from "../hca/files.ts";

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
  return exists(join(kubeletDir, FILE)) && readData(kubeletDir) === undefined;
}

/** Devices of one resource that a container holds. */
export interface HeldDevices {
  readonly podUid: string | null;
  readonly container: string | null;
  readonly resource: string;
  readonly ids: readonly string[];
}

/** Device IDs that pods hold, by resource. Null when there is no checkpoint or its format is unknown. */
export function heldDevices(kubeletDir: string): ReadonlyMap<string, ReadonlySet<string>> | null {
  const data = readData(kubeletDir);
  if (data === undefined) return null;
  const held = new Map<string, Set<string>>();
  for (const { resource, ids } of containersIn(data)) {
    const known = held.get(resource) ?? new Set();
    held.set(resource, known);
    for (const id of ids) known.add(id);
  }
  return held;
}

/** The same, container by container. Empty when there is no checkpoint or its format is unknown. */
export function heldByContainers(kubeletDir: string): readonly HeldDevices[] {
  return containersIn(readData(kubeletDir));
}

function containersIn(data: unknown): readonly HeldDevices[] {
  const entries = at(data, "PodDeviceEntries");
  return (Array.isArray(entries) ? entries : []).flatMap((entry): HeldDevices[] => {
    const resource = at(entry, "ResourceName");
    if (typeof resource !== "string") return [];
    // IDs by NUMA node since Kubernetes 1.20; a plain list before. The values of a string would be its letters.
    const listed = at(entry, "DeviceIDs");
    const ids = (isObject(listed) ? Object.values(listed).flat() : []).filter((id) => typeof id === "string");
    return [{ podUid: text(at(entry, "PodUID")), container: text(at(entry, "ContainerName")), resource, ids }];
  });
}

function text(value: unknown): string | null {
  return typeof value === "string" && value !== "" ? value : null;
}

function at(value: unknown, key: string): unknown {
  return isObject(value) && Object.hasOwn(value, key) ? value[key] : undefined;
}

function isObject(value: unknown): value is Readonly<Record<string, unknown>> {
  return typeof value === "object" && value !== null;
}
