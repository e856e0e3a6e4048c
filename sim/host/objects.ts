/**
 * The current objects of a fake host's RDMA subsystem, and how they are created from the description.
 *
 * @module
 */
import { defaultBridges, routingId, vfAddress } from "./pci.ts";
import { defaultGids, type PciFacts } from "./tree.ts";
import type { GidDescription, HcaDescription, HcaNow, NetdevDescription, PortDescription } from "./types.ts";

/** The steps of a change; the return value has one event line for each changed object. */
export type Steps = Generator<void, string[]>;

/** The current state of a port. */
export interface PortObject {
  readonly number: number;
  readonly description: PortDescription;
  state: string;
  physState: string;
  gids: readonly GidDescription[];
  /** Number of its umad and issm nodes, for which the kernel uses the same number. */
  mad: number | null;
}

/** The current state of an HCA. */
export interface HcaObject {
  readonly description: HcaDescription;
  name: string;
  /** `pod`: moved to another network namespace, with its nodes still in /dev. */
  where: "here" | "pod" | "gone";
  uverbs: number | null;
  /** The uverbs node is hidden in /dev although sysfs has the entry. */
  nodeHidden: boolean;
  readonly ports: readonly PortObject[];
  readonly netdevs: readonly NetdevDescription[];
  /** Its net devices are in a pod's network namespace, while the HCA is not. */
  netdevsInPod: boolean;
  readonly pf: HcaObject | null;
  readonly vfIndex: number | null;
}

const STATES = { DOWN: "1: DOWN", INIT: "2: INIT", ARMED: "3: ARMED", ACTIVE: "4: ACTIVE" } as const;

/** An HCA before its driver is bound. */
export function newHca(description: HcaDescription, pf: HcaObject | null, vfIndex: number | null): HcaObject {
  const netdevs = (description.netdevs ?? []).map((netdev) => typeof netdev === "string" ? { name: netdev } : netdev);
  const ports = description.ports.map((port, index): PortObject => {
    const netdev = netdevs.find((candidate) =>
      (candidate.port ?? 1) === index + 1 && candidate.type !== "ipoib" && !candidate.physPortName?.startsWith("pf")
    );
    return {
      number: index + 1,
      description: port,
      state: STATES[port.state ?? "ACTIVE"],
      physState: port.physState ?? (port.state === "DOWN" ? "2: Polling" : "5: LinkUp"),
      gids: port.gids ?? (port.gidSlots === 0 ? [] : defaultGids(description, index + 1, netdev)),
      mad: null,
    };
  });
  return {
    description,
    name: description.name,
    where: "gone",
    uverbs: null,
    nodeHidden: false,
    ports,
    netdevs,
    netdevsInPod: false,
    pf,
    vfIndex,
  };
}

/** The umad and issm nodes of an HCA with their ports. */
export function madsOf(hca: HcaObject): [kind: "umad" | "issm", number: number, port: number][] {
  return hca.ports.flatMap((port) => {
    if (port.mad === null) return [];
    const issm = port.description.issm ?? (port.description.linkLayer === "InfiniBand" && hca.pf === null);
    const nodes: ["umad" | "issm", number, number][] = [["umad", port.mad, port.number]];
    if (issm) nodes.push(["issm", port.mad, port.number]);
    return nodes;
  });
}

/** The attributes of an HCA's PCI function. */
export function pciFacts(hca: HcaDescription): PciFacts {
  return {
    vendor: hca.vendor,
    device: hca.device,
    subsystemVendor: hca.subsystemVendor ?? hca.vendor,
    subsystemDevice: hca.subsystemDevice ?? "0000",
    // 0207 InfiniBand, 0200 Ethernet; EFA uses Ethernet as well.
    pciClass: hca.pciClass ?? (hca.ports[0]?.linkLayer === "InfiniBand" ? "020700" : "020000"),
    numaNode: hca.numaNode ?? -1,
  };
}

/** VF `index` of a PF, without the name, which the kernel assigns. */
export function vfDescription(pf: HcaObject, index: number): HcaDescription {
  const { totalVfs: _totalVfs, vfs: _vfs, vf, netdevs: _netdevs, ...shared } = pf.description;
  const first = pf.netdevs.find((netdev) => netdev.type !== "ipoib" && !netdev.physPortName?.startsWith("pf"));
  const address = shared.pci ?? "";
  const guid = BigInt(`0x${shared.nodeGuid.replaceAll(":", "")}`) + (BigInt(index + 1) << 32n);
  const own = vf?.netdevs !== false && first !== undefined;
  return {
    ...shared,
    device: vf?.device ?? shared.device,
    driver: vf?.driver ?? shared.driver,
    bridges: shared.bridges ?? defaultBridges(address),
    nodeGuid: guid.toString(16).padStart(16, "0").replace(/(.{4})(?=.)/g, "$1:"),
    sysImageGuid: shared.sysImageGuid ?? shared.nodeGuid,
    pci: vfAddress(address, routingId(address) + (vf?.offset ?? 2) + index),
    netdevs: own ? [{ name: `${first.name.replace(/np\d+$/, "")}v${index}` }] : [],
    ports: vf?.ports ?? shared.ports,
  };
}

/** The expected scan result for an HCA that is visible on the host. */
export function describeHca(hca: HcaObject): HcaNow {
  const { description } = hca;
  const nodes = madsOf(hca);
  const named = (wanted: "umad" | "issm", port?: number) =>
    nodes.flatMap(([kind, n, of]) => kind === wanted && (port === undefined || of === port) ? [`${kind}${n}`] : []);
  const uverbs = hca.uverbs === null ? null : `uverbs${hca.uverbs}`;
  const virtual = description.pci === null || description.software !== undefined;
  const numaNode = description.numaNode ?? -1;
  return {
    name: hca.name,
    nodeGuid: description.nodeGuid,
    kind: virtual ? "virtual" : description.sf !== undefined ? "sf" : hca.pf !== null ? "vf" : "pf",
    pci: virtual ? null : description.pci,
    pf: hca.pf?.name ?? null,
    vfIndex: hca.vfIndex,
    numaNode: virtual || numaNode < 0 ? null : numaNode,
    uverbs,
    uverbsNode: hca.nodeHidden ? null : uverbs,
    umads: named("umad"),
    issms: named("issm"),
    netdevs: hca.netdevsInPod ? [] : hca.netdevs.map((netdev) => netdev.name).sort(),
    ports: hca.ports.map((port) => ({
      number: port.number,
      state: port.state,
      physState: port.physState,
      linkLayer: port.description.linkLayer,
      umad: named("umad", port.number)[0] ?? null,
      issm: named("issm", port.number)[0] ?? null,
    })),
  };
}
