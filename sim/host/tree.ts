/**
 * The content of the kernel's sysfs for one PCI function, net device, HCA or character device, as a tree of file
 * contents. Pure. File names and spellings are the kernel's (`Documentation/ABI/stable/sysfs-class-infiniband`,
 * `drivers/infiniband/core/{sysfs,user_mad,uverbs_main}.c`).
 *
 * @module
 */
import type { Directory } from "./disk.ts";
import type { GidDescription, HcaDescription, NetdevDescription, PortDescription } from "./types.ts";

const EMPTY_GID = "0000:0000:0000:0000:0000:0000:0000:0000";

/** The facts about a PCI function that its tree needs. */
export interface PciFacts {
  readonly vendor: string;
  readonly device: string;
  readonly subsystemVendor: string;
  readonly subsystemDevice: string;
  /** Six hex digits: "020700" InfiniBand, "020000" Ethernet, "060400" a bridge. */
  readonly pciClass: string;
  readonly numaNode: number;
}

/** "pci:v000015B3d00001017sv…": selects kernel modules and libibverbs' providers. */
export function pciModalias(facts: PciFacts): string {
  const wide = (id: string) => id.toUpperCase().padStart(8, "0");
  const upper = facts.pciClass.toUpperCase();
  return `pci:v${wide(facts.vendor)}d${wide(facts.device)}sv${wide(facts.subsystemVendor)}` +
    `sd${wide(facts.subsystemDevice)}bc${upper.slice(0, 2)}sc${upper.slice(2, 4)}i${upper.slice(4, 6)}`;
}

/** The attributes of a PCI function; the caller adds links and SR-IOV files. */
export function pciFunctionTree(facts: PciFacts): Directory {
  return {
    vendor: `0x${facts.vendor}`,
    device: `0x${facts.device}`,
    subsystem_vendor: `0x${facts.subsystemVendor}`,
    subsystem_device: `0x${facts.subsystemDevice}`,
    class: `0x${facts.pciClass}`,
    revision: "0x00",
    numa_node: String(facts.numaNode),
    // Sixteen CPUs per node; a function without a node is local to all CPUs.
    local_cpulist: facts.numaNode < 0 ? "0-127" : `${facts.numaNode * 16}-${facts.numaNode * 16 + 15}`,
    modalias: pciModalias(facts),
    enable: "1",
    subsystem: { to: "/bus/pci" },
  };
}

/**
 * State of a net device's link: carrier is null while the interface is administratively down (reading gives EINVAL).
 */
export interface LinkFacts {
  readonly up: boolean;
  readonly carrier: "0" | "1" | null;
}

/** The link of the net device when its port is in these states. */
export function linkOf(state: string, physState: string): LinkFacts {
  if (physState.startsWith("3")) return { up: false, carrier: null };
  return { up: true, carrier: state.startsWith("4") ? "1" : "0" };
}

/** The files of a net device that depend on its link. */
export function linkFiles(link: LinkFacts): { operstate: string; flags: string; carrier: string | undefined } {
  return {
    operstate: link.carrier === "1" ? "up" : "down",
    // IFF_BROADCAST | IFF_MULTICAST, and IFF_UP
    flags: link.up ? "0x1003" : "0x1002",
    carrier: link.carrier ?? undefined,
  };
}

/** A net device; `device` is null for those in devices/virtual. */
export function netdevTree(
  netdev: NetdevDescription,
  facts: { ifindex: number; device: string | null; address: string; link: LinkFacts; master: string | null },
): Directory {
  return {
    ifindex: String(facts.ifindex),
    iflink: String(facts.ifindex),
    address: facts.address,
    // ARPHRD_ETHER, ARPHRD_INFINIBAND
    type: netdev.type === "ipoib" ? "32" : "1",
    mtu: netdev.type === "ipoib" ? "2044" : "1500",
    dev_id: "0x0",
    dev_port: String((netdev.port ?? 1) - 1),
    phys_port_name: netdev.physPortName,
    phys_switch_id: netdev.physSwitchId,
    uevent: `INTERFACE=${netdev.name}\nIFINDEX=${facts.ifindex}`,
    subsystem: { to: "/class/net" },
    device: facts.device === null ? undefined : { to: facts.device },
    master: facts.master === null ? undefined : { to: `/devices/virtual/net/${facts.master}` },
    bonding: netdev.bond === undefined ? undefined : { slaves: netdev.bond.join(" "), mode: "802.3ad 4" },
    ...linkFiles(facts.link),
  };
}

/** The GUID of a port: as on real adapters, the node GUID plus the port number. */
export function portGuid(nodeGuid: string, port: number): string {
  const value = (BigInt(`0x${nodeGuid.replaceAll(":", "")}`) + BigInt(port)) & 0xffff_ffff_ffff_ffffn;
  return value.toString(16).padStart(16, "0").replace(/(.{4})(?=.)/g, "$1:");
}

/** The MAC address of a net device: from the node GUID, or for IPoIB the 20 bytes that end with the port GUID. */
export function macOf(netdev: NetdevDescription, nodeGuid: string): string {
  const port = portGuid(nodeGuid, netdev.port ?? 1).replaceAll(":", "").replace(/(..)(?=.)/g, "$1:");
  if (netdev.type === "ipoib") return `00:00:10:29:fe:80:00:00:00:00:00:00:${port}`;
  const bytes = port.split(":");
  return ["02", bytes[1], bytes[2], bytes[5], bytes[6], bytes[7]].join(":");
}

/** The default GID table of a port: one GID on InfiniBand, a v1 and a v2 entry per address on RoCE. */
export function defaultGids(
  hca: HcaDescription,
  number: number,
  netdev: NetdevDescription | undefined,
): readonly GidDescription[] {
  const port = hca.ports[number - 1];
  const linkLocal = `fe80:0000:0000:0000:${portGuid(hca.nodeGuid, number)}`;
  if (port?.linkLayer !== "Ethernet") return [{ index: 0, gid: linkLocal, type: "IB/RoCE v1", netdev: null }];
  if (hca.nodeType === "4: RNIC") return [{ index: 0, gid: linkLocal, type: null, netdev: netdev?.name ?? null }];
  const gids = [linkLocal];
  if (netdev?.ipv4 !== undefined) {
    const hex = netdev.ipv4.split(".").map((byte) => Number(byte).toString(16).padStart(2, "0")).join("");
    gids.push(`0000:0000:0000:0000:0000:ffff:${hex.slice(0, 4)}:${hex.slice(4)}`);
  }
  return gids.flatMap((gid, pair) =>
    ["IB/RoCE v1", "RoCE v2"].map((type, odd) => ({ index: pair * 2 + odd, gid, type, netdev: netdev?.name ?? null }))
  );
}

const IB_COUNTERS = [
  "excessive_buffer_overrun_errors",
  "link_downed",
  "link_error_recovery",
  "local_link_integrity_errors",
  "port_rcv_data",
  "port_rcv_errors",
  "port_rcv_packets",
  "port_xmit_data",
  "port_xmit_discards",
  "port_xmit_packets",
  "port_xmit_wait",
  "symbol_error",
];

const HW_COUNTERS: Readonly<Record<string, readonly string[]>> = {
  mlx5_core: ["local_ack_timeout_err", "np_cnp_sent", "out_of_buffer", "out_of_sequence", "rx_write_requests"],
  efa: ["alloc_pd_err", "keep_alive_rcvd", "rx_bytes", "rx_drops", "tx_bytes"],
  ice: ["ip4InOctets", "iwInRdmaReads", "RxUDP", "tcpRetransSegs"],
  bnxt_en: ["active_qps", "oos_drop_count", "rx_bytes", "tx_bytes"],
  rdma_rxe: ["ack_deferred", "duplicate_request", "out_of_seq_request", "rcvd_pkts", "sent_pkts"],
};

function zeros(names: readonly string[], lifespan: boolean): Directory {
  const files = Object.fromEntries(names.map((name) => [name, "0"]));
  return lifespan ? { ...files, lifespan: "10" } : files;
}

/** The GID table of a port: empty slots read as zeros and have no readable attributes. */
export function gidFiles(port: PortDescription, gids: readonly GidDescription[]): Directory {
  const table = Array.from({ length: port.gidSlots ?? 16 }, () => EMPTY_GID);
  for (const gid of gids) table[gid.index] = gid.gid;
  return {
    gids: indexed(table.map((gid, index) => [index, gid])),
    gid_attrs: {
      ndevs: indexed(gids.map((gid) => [gid.index, gid.netdev])),
      types: indexed(gids.map((gid) => [gid.index, gid.type])),
    },
  };
}

/** Files named by number, without the null ones. */
function indexed(values: readonly (readonly [number, string | null])[]): Directory {
  return Object.fromEntries(values.flatMap(([index, value]) => value === null ? [] : [[String(index), value]]));
}

/** `ports/N` of an HCA. */
export function portTree(
  hca: HcaDescription,
  number: number,
  port: PortDescription,
  now: { state: string; physState: string; gids: readonly GidDescription[] },
): Directory {
  const ib = port.linkLayer === "InfiniBand";
  return {
    state: now.state,
    phys_state: now.physState,
    link_layer: port.linkLayer,
    rate: port.rate ?? (ib ? "400 Gb/sec (4X NDR)" : "100 Gb/sec (4X EDR)"),
    lid: `0x${(port.lid ?? (ib ? number : 0)).toString(16)}`,
    sm_lid: `0x${(port.smLid ?? (ib ? 1 : 0)).toString(16)}`,
    lid_mask_count: "0",
    sm_sl: "0",
    cap_mask: ib ? "0xa751e848" : "0x04010000",
    ...gidFiles(port, now.gids),
    pkeys: indexed((port.pkeys ?? ["0xffff"]).map((pkey, index) => [index, pkey])),
    counters: port.counters === false ? undefined : zeros(IB_COUNTERS, false),
    hw_counters: zeros(HW_COUNTERS[hca.driver] ?? ["rx_bytes", "tx_bytes"], true),
  };
}

/** `node_desc` of the software drivers. */
const NODE_DESC: Readonly<Record<string, string>> = { rxe: "rxe", rdma_rxe: "rxe", siw: "Software iWARP stack" };

/** The attributes of an HCA without its ports; `device` is null for software HCAs. */
export function hcaTree(hca: HcaDescription, name: string, device: string | null, ports: Directory): Directory {
  const parent = (hca.netdevs ?? [])[0];
  return {
    node_type: hca.nodeType ?? "1: CA",
    node_guid: hca.nodeGuid,
    sys_image_guid: hca.sysImageGuid ?? hca.nodeGuid,
    node_desc: NODE_DESC[hca.software?.kind ?? hca.driver] ?? `${name} of a simulated host`,
    fw_ver: hca.firmware,
    board_id: hca.boardId,
    hca_type: hca.hcaType,
    hw_rev: device === null ? undefined : "0",
    uevent: `NAME=${name}`,
    parent: hca.software?.parent ??
      (device !== null || parent === undefined ? undefined : typeof parent === "string" ? parent : parent.name),
    device: device === null ? undefined : { to: device },
    subsystem: { to: "/class/infiniband" },
    ports,
  };
}

/** The three character devices of the RDMA subsystem. */
export type CharKind = "uverbs" | "umad" | "issm";

/**
 * `major:minor` of a node: major 231 for the first 32 uverbs, 64 umad and 64 issm (`IB_UVERBS_BASE_MINOR` 192,
 * `IB_UMAD_MINOR_BASE` 0, `IB_ISSM_MINOR_BASE` 64), a dynamic major above.
 */
export function charNumber(kind: CharKind, number: number): string {
  if (kind === "uverbs") return number < 32 ? `231:${192 + number}` : `508:${number - 32}`;
  if (kind === "umad") return number < 64 ? `231:${number}` : `507:${number - 64}`;
  return number < 64 ? `231:${64 + number}` : `506:${number - 64}`;
}

/** Provider ABI in `uverbsN/abi_version` of each driver. */
const ABI: Readonly<Record<string, string>> = { rdma_rxe: "2", ice: "5", iavf: "5", mlx4_core: "4" };

/** `uverbsN`, `umadN` or `issmN` in its class directory. */
export function charDeviceTree(
  kind: CharKind,
  number: number,
  facts: { hca: string; driver: string; port: number | null; device: string | null },
): Directory {
  const dev = charNumber(kind, number);
  const [major, minor] = dev.split(":");
  const name = `${kind}${number}`;
  return {
    ibdev: facts.hca,
    dev,
    port: facts.port === null ? undefined : String(facts.port),
    abi_version: kind === "uverbs" ? ABI[facts.driver] ?? "1" : undefined,
    uevent: `MAJOR=${major}\nMINOR=${minor}\nDEVNAME=infiniband/${name}${kind === "uverbs" ? "\nDEVMODE=0666" : ""}`,
    device: facts.device === null ? undefined : { to: facts.device },
    subsystem: { to: kind === "uverbs" ? "/class/infiniband_verbs" : "/class/infiniband_mad" },
  };
}
