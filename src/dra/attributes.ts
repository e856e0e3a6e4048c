/**
 * What a ResourceSlice says of a device: only facts that stay. State of ports, GIDs and addresses are no attributes,
 * because each change of a slice wakes the scheduler; a link that is down is a taint. Pure.
 *
 * @module
 */
import type { Hca, NetnsMode } from "../hca/types.ts";
import type { Member } from "../pool/select.ts";
import type { ResourceSpec } from "../pool/spec.ts";
import type { AttributeValue, Capacity } from "../kubernetes/resource_api.ts";

export type Attributes = Readonly<Record<string, AttributeValue>>;

/** `DeviceAttributeMaxValueLength` in resource.k8s.io/v1. */
const LONGEST_STRING = 64;
const SEMVER = /^(0|[1-9]\d*)\.(0|[1-9]\d*)\.(0|[1-9]\d*)$/;

/**
 * Facts that a scan may miss although they hold: a CNI moves the net device into a pod, a port that is down has no rate
 * to speak of, firmware does not answer. What was once known of them stays.
 */
const REMEMBERED = ["netdev", "rateGbps", "firmware", "firmwareVersion", "nodeGuid", "linkLayer"];

/** Attributes of a device. Names without a domain belong to the driver's. */
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
    // What claims written for dranet select by.
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
 * What can be taken in parts: shares of a device that several claims may have, and its bandwidth.
 *
 * @param shared whether several claims may have the device; without it a policy is refused by the API server
 */
export function capacities(
  spec: ResourceSpec,
  rateGbps: number | null,
  shared: boolean,
): Readonly<Record<string, Capacity>> {
  const found: Record<string, Capacity> = {};
  if (shared && spec.mode.kind === "shared") {
    const max = String(spec.mode.shares);
    found.shares = { value: max, requestPolicy: { default: "1", validRange: { min: "1", max, step: "1" } } };
  }
  if (spec.dra.bandwidth && rateGbps !== null && rateGbps > 0) {
    const value = `${rateGbps}G`;
    found.bandwidth = shared
      ? { value, requestPolicy: { default: "0", validRange: { min: "0", max: value } } }
      : { value };
  }
  return found;
}

function text(value: string | null): AttributeValue | null {
  // One value that is too long would have the server refuse the whole slice.
  return value === null || value === "" || new TextEncoder().encode(value).length > LONGEST_STRING
    ? null
    : { string: value };
}

function number(value: number | null): AttributeValue | null {
  return value === null ? null : { int: value };
}
