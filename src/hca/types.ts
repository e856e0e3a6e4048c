/**
 * RDMA hardware as the rest of the plugin sees it: plain immutable values without behaviour.
 *
 * Field names follow sysfs (`Documentation/ABI/stable/sysfs-class-infiniband` in the kernel tree) where a value comes
 * from one file. `null` always means that the kernel gives no value: the file is missing, torn or unreadable. It never
 * stands for a default.
 *
 * @module
 */

/** Kernel `enum rdma_node_type`, as the `node_type` file spells it after the number. */
export type NodeType = "CA" | "switch" | "router" | "RNIC" | "usNIC" | "usNIC UDP" | "unspecified" | "unknown";

/** Kernel `enum ib_port_state`; the number before the colon in `ports/N/state`. */
export type PortState = "NOP" | "DOWN" | "INIT" | "ARMED" | "ACTIVE" | "ACTIVE_DEFER" | "unknown";

/** Values of `ports/N/link_layer`. EFA has neither of the two. */
export type LinkLayer = "InfiniBand" | "Ethernet" | "unknown";

/** The wire protocol that operators select by; derived from node type, link layer and driver. */
export type Transport = "IB" | "RoCE" | "iWARP" | "EFA" | "unknown";

/** What carries the HCA: a physical function, a virtual function, a sub-function, or software only. */
export type HcaKind = "pf" | "vf" | "sf" | "virtual";

/** One occupied slot of a port's GID table. */
export interface Gid {
  readonly index: number;
  /** Eight groups of four hex digits, as sysfs prints it. */
  readonly gid: string;
  /** "IB/RoCE v1", "RoCE v2"; null when the kernel gives no type. */
  readonly type: string | null;
  /** Name of the associated net device, null on InfiniBand. */
  readonly netdev: string | null;
}

/** One port of an HCA. */
export interface Port {
  readonly number: number;
  /** The wire protocol; ports of one HCA can differ (ConnectX VPI). */
  readonly transport: Transport;
  readonly state: PortState;
  /** "LinkUp", "Polling", "Disabled", … as sysfs spells it after the number; null when unknown. */
  readonly physState: string | null;
  readonly linkLayer: LinkLayer;
  /** As printed by the kernel: "100 Gb/sec (4X EDR)". */
  readonly rate: string | null;
  /** The number in front of `rate`, in Gb/s. */
  readonly rateGbps: number | null;
  /** The rate when the port was last up; the rate of a port that is down is not meaningful. */
  readonly upRateGbps: number | null;
  readonly lid: number | null;
  readonly smLid: number | null;
  readonly gids: readonly Gid[];
  /**
   * Whether the port has a GID table, even if all slots are zero. An Ethernet port without one carries no RDMA: the
   * uplink and the representors of a switchdev function, or RoCE that is disabled. null when it cannot be read.
   */
  readonly gidTable: boolean | null;
  /** Net devices of this port: those of the function, and those of the GID table on top of them. Sorted. */
  readonly netdevs: readonly string[];
  /**
   * True when the net device is in a pod's network namespace: `netdevs` are then the names last seen, and the state of
   * an Ethernet port is under the pod's control.
   */
  readonly netdevAway: boolean;
  /** `umadN` of this port; null where the port has no management datagrams (EFA, iWARP) or ib_umad is not loaded. */
  readonly umad: string | null;
  /** `issmN`; only real InfiniBand ports of a PF have one, so null is not a fault. */
  readonly issm: string | null;
  /** Partition key at index 0 as sysfs prints it ("0xffff"); null on ports without a table. */
  readonly pkey0: string | null;
}

/** The PCI function below an HCA. For a sub-function it is the PF or VF that carries it. */
export interface PciFunction {
  /** "0000:3b:00.0" */
  readonly address: string;
  /** Four hex digits, lower case, no 0x. */
  readonly vendor: string | null;
  readonly device: string | null;
  /** Kernel driver bound to the function: "mlx5_core", "bnxt_en", "efa". */
  readonly driver: string | null;
  readonly modalias: string | null;
  /** Null when the kernel reports -1. */
  readonly numaNode: number | null;
  /** Bridges from the root down, the root first: ["pci0000:3a", "0000:3a:00.0"]; without the function itself. */
  readonly path: readonly string[];
  /** Address of the PF when this is a VF. */
  readonly physfn: string | null;
  /** The N of the PF's `virtfnN` link to this function. */
  readonly vfIndex: number | null;
  /** Net devices of the PF when this is a VF, or carries the sub-function. */
  readonly pfNetdevs: readonly string[];
  /** VFs that it has now; null for a function without SR-IOV. */
  readonly sriovNumVfs: number | null;
  readonly sriovTotalVfs: number | null;
}

/** The character device through which user space uses the HCA. */
export interface UverbsNode {
  /** "uverbs0" */
  readonly name: string;
  /** `major:minor` as in the sysfs `dev` file; null when torn. */
  readonly dev: string | null;
  /** Driver ABI version, which the libibverbs provider must support. */
  readonly abiVersion: number | null;
  /** False when `DEV_ROOT/infiniband/NAME` does not exist, or is another device; libibverbs then hides the HCA. */
  readonly present: boolean;
  /** What is there instead: "device 231:193", "a directory". Absent when nothing is, or the node itself. */
  readonly stale?: string;
}

/** A character device of the HCA's PCI function beside verbs: Omni-Path's hfi1_0, Slingshot's cxi0, a PTP clock. */
export interface ClassNode {
  /** Name of its class in sysfs: "hfi1_user", "cxi_user", "ptp". */
  readonly class: string;
  readonly name: string;
  /** Path on the host: "/dev/hfi1_0". */
  readonly path: string;
  /** `major:minor`; null when the kernel gives none. */
  readonly dev: string | null;
  /** Directory in sysfs, relative to its root. */
  readonly entry: string;
  /** Whether DEV_ROOT has the node. */
  readonly present: boolean;
}

/** One RDMA device, `/sys/class/infiniband/NAME`. */
export interface Hca {
  readonly name: string;
  readonly nodeType: NodeType;
  /** "ec0d:9a03:0012:3456", sysfs form. */
  readonly nodeGuid: string | null;
  readonly sysImageGuid: string | null;
  readonly firmware: string | null;
  readonly boardId: string | null;
  readonly hcaType: string | null;
  readonly kind: HcaKind;
  /** Transport of the first port that has one; see `ports` for each. */
  readonly transport: Transport;
  /** null for software HCAs (soft-RoCE, soft-iWARP). */
  readonly pci: PciFunction | null;
  /** Sub-function number when `kind` is "sf". */
  readonly sfNumber: number | null;
  /** Name of a sub-function's auxiliary device, "mlx5_core.sf.4": its address, as the SR-IOV plugin and CNIs use it. */
  readonly sfDevice: string | null;
  readonly ports: readonly Port[];
  /** Net devices of all ports. Sorted. */
  readonly netdevs: readonly string[];
  /**
   * More names that select the HCA: the bond above its net devices, and slaves of it whose function has no HCA of its
   * own.
   */
  readonly bondNetdevs: readonly string[];
  /** True for a function in switchdev mode, the uplink of an embedded switch. */
  readonly switchdev: boolean;
  /** For an SMI sub-device: the HCA of the same function that has the uverbs node. */
  readonly subdeviceOf: string | null;
  /** null when ib_uverbs is not loaded or has no entry for this HCA. */
  readonly uverbs: UverbsNode | null;
  /** Other character devices of the HCA's PCI function. */
  readonly classNodes: readonly ClassNode[];
  /** Whether libibverbs lists the HCA; null when it could not be asked. */
  readonly inVerbs: boolean | null;
  /** Notes about this HCA from this scan, one sentence each, for people. */
  readonly notes: readonly string[];
}

/** The answer of libibverbs, or the reason why it could not be asked. */
export type VerbsAnswer =
  | { readonly kind: "list"; readonly devices: readonly VerbsDevice[] }
  /** The library returned no devices (NULL or an empty list, without an error). */
  | { readonly kind: "empty" }
  /** ENOSYS: the kernel has no uverbs support loaded. */
  | { readonly kind: "no-kernel-support" }
  /** dlopen failed, or a symbol is missing. */
  | { readonly kind: "no-library"; readonly detail: string }
  /** The library was called and failed in another way. */
  | { readonly kind: "failed"; readonly detail: string }
  /** Not asked: disabled, or a runtime without FFI. */
  | { readonly kind: "not-asked"; readonly detail: string };

/** One entry of `ibv_get_device_list`. */
export interface VerbsDevice {
  readonly name: string;
  /** "uverbs0" */
  readonly uverbs: string;
  /** As sysfs prints it, from the network-order integer that `ibv_get_device_guid` returns. */
  readonly guid: string;
  /** `enum ibv_node_type` */
  readonly nodeType: number;
}

/** RDMA net namespace mode of the machine (`rdma system show`). */
export type NetnsMode = "shared" | "exclusive" | "unknown";

/** The result of one scan. */
export interface Snapshot {
  /** Sorted by name, in natural order (mlx5_2 before mlx5_10). */
  readonly hcas: readonly Hca[];
  /**
   * HCAs that this process has seen and sysfs no longer shows, while their PCI function still has its driver, on a
   * machine in exclusive RDMA network namespace mode: they are in a pod's network namespace. As last seen.
   */
  readonly inPodNetns: readonly Hca[];
  readonly verbs: VerbsAnswer;
  /** Whether `DEV_ROOT/infiniband/rdma_cm` exists. */
  readonly rdmaCm: boolean;
  /** Whether the host has /dev/knem. */
  readonly knem: boolean;
  readonly netnsMode: NetnsMode;
  /** Names that existed when the scan began and could not be read completely, with the reason. */
  readonly unreadable: readonly { readonly name: string; readonly reason: string }[];
  /** Notes that concern the whole machine, one sentence each. */
  readonly notes: readonly string[];
}
