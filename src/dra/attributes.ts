/**
 * The attributes and capacities of a device in a ResourceSlice: only facts that rarely change. Port states, GIDs and
 * addresses are not attributes, because every change of a slice wakes the scheduler; a link that is down is a taint.
 * Pure.
 *
 * @module
 */
import type { Hca, NetnsMode } from "../hca/types.ts";
import type { Member } from "../pool/select.ts";
import type { ResourceSpec } from "../pool/spec.ts";
import { quantity } from "../kubernetes/quantity.ts";
import type { AttributeValue, Capacity } from "../kubernetes/resource_api.ts";

export type Attributes = Readonly<Record<string, AttributeValue>>;

/** `DeviceAttributeMaxValueLength` in resource.k8s.io/v1. */
const LONGEST_STRING = 64;
const SEMVER = /^(0|[1-9]\d*)\.(0|[1-9]\d*)\.(0|[1-9]\d*)$/;

/**
 * Attributes that keep their last known value when a scan cannot read them: a CNI plugin moves the net device into a
 * pod, a port that is down reports no usable rate, the firmware does not answer.
 */
const REMEMBERED = ["netdev", "rateGbps", "firmware", "firmwareVersion", "nodeGuid", "linkLayer"];

/** Attributes of a device. Names without a domain are in the driver's domain. */
export function attributes(
  spec: ResourceSpec,
  member: Member,
  netnsMode: NetnsMode,
  known: Attributes = {},
): Attributes {
  const hca = member.hcas[0]!;
  const { pci } = hca;
  const found: Record<string, AttributeValue | null> = {
    resource: text(spec.name),
    rdmaDevice: text(member.hcas.map((one) => one.name).join(",")),
    kind: text(hca.kind),
    transport: hca.transport === "unknown" ? null : text(hca.transport),
    linkLayer: text(hca.ports.find((port) => port.linkLayer !== "unknown")?.linkLayer ?? null),
    rateGbps: number(rateOf(member.hcas)),
    ports: number(hca.ports.length),
    numaNode: number(pci?.numaNode ?? null),
    netdev: text(hca.netdevs[0] ?? null),
    driver: text(pci?.driver ?? null),
    vendor: text(pci?.vendor ?? null),
    device: text(pci?.device ?? null),
    firmware: text(hca.firmware),
    firmwareVersion: hca.firmware !== null && SEMVER.test(hca.firmware) ? { version: hca.firmware } : null,
    nodeGuid: hca.nodeGuid === null || /^[0:]*$/.test(hca.nodeGuid) ? null : text(hca.nodeGuid),
    pfPciBusID: text(pci?.physfn ?? null),
    vfIndex: number(pci?.vfIndex ?? null),
    sfNumber: number(hca.sfNumber),
    netnsMode: text(netnsMode === "unknown" ? null : netnsMode),
    "resource.kubernetes.io/pciBusID": hca.kind === "sf" ? null : text(pci?.address ?? null),
    "resource.kubernetes.io/pcieRoot": text(pci?.path.find((part) => part.startsWith("pci")) ?? null),
    // For claims that were written for dranet.
    "dra.net/rdma": { bool: true },
    "dra.net/rdmaDevice": text(hca.name),
    "dra.net/numaNode": number(pci?.numaNode ?? null),
  };
  // Another adapter in the same slot has facts of its own.
  const same = hca.nodeGuid === null || known.nodeGuid === undefined || known.nodeGuid.string === hca.nodeGuid;
  if (same) { for (const name of REMEMBERED) found[name] ??= known[name] ?? null; }
  return Object.fromEntries(
    Object.entries(found).filter((entry): entry is [string, AttributeValue] => entry[1] !== null),
  );
}

/** Gb/s of the fastest port that is up; null when none is. */
export function rateOf(hcas: readonly Hca[]): number | null {
  const rates = hcas.flatMap((hca) => hca.ports.filter((port) => port.state === "ACTIVE"))
    .map((port) => port.rateGbps).filter((rate) => rate !== null);
  return rates.length === 0 ? null : Math.floor(Math.max(...rates));
}

/**
 * Capacities that a claim can consume in part: the shares of a device, and its bandwidth.
 *
 * @param shared whether several claims may share the device; otherwise the API server rejects a request policy
 */
export function capacities(
  spec: ResourceSpec,
  rateGbps: number | null,
  shared: boolean,
): Readonly<Record<string, Capacity>> {
  const found: Record<string, Capacity> = {};
  if (shared && spec.mode.kind === "shared") {
    const max = quantity(spec.mode.shares);
    found.shares = { value: max, requestPolicy: { default: "1", validRange: { min: "1", max, step: "1" } } };
  }
  if (spec.dra.bandwidth && rateGbps !== null && rateGbps > 0) {
    const value = quantity(rateGbps * 1e9);
    found.bandwidth = shared
      ? { value, requestPolicy: { default: "0", validRange: { min: "0", max: value } } }
      : { value };
  }
  return found;
}

function text(value: string | null): AttributeValue | null {
  // The API server would reject the whole slice because of one value that is too long.
  return value === null || value === "" || new TextEncoder().encode(value).length > LONGEST_STRING
    ? null
    : { string: value };
}

function number(value: number | null): AttributeValue | null {
  return value === null ? null : { int: value };
}
