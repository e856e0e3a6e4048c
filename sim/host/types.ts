/**
 * Description and current state of a fake host: plain values without behaviour.
 *
 * @module
 */

export type PortStateName = "DOWN" | "INIT" | "ARMED" | "ACTIVE";

/** One occupied slot of a GID table. */
export interface GidDescription {
  readonly index: number;
  /** Eight groups of four hex digits. */
  readonly gid: string;
  /** "IB/RoCE v1" or "RoCE v2"; null: `gid_attrs/types/N` cannot be read. */
  readonly type: string | null;
  /** null: `gid_attrs/ndevs/N` cannot be read, as on InfiniBand. */
  readonly netdev: string | null;
}

/** One port; ports are numbered from 1 in the order of the description. */
export interface PortDescription {
  /** Value of `link_layer`; "Unknown" for EFA. */
  readonly linkLayer: "InfiniBand" | "Ethernet" | "Unknown";
  /** Default ACTIVE. */
  readonly state?: PortStateName;
  /** Default "5: LinkUp"; with DOWN "2: Polling" (no cable). */
  readonly physState?: string;
  /** Default by link layer: "400 Gb/sec (4X NDR)" or "100 Gb/sec (4X EDR)". */
  readonly rate?: string;
  /** Default 0, and port-dependent on InfiniBand. */
  readonly lid?: number;
  readonly smLid?: number;
  /** Default: those that the driver creates for the port's net device and link layer. */
  readonly gids?: readonly GidDescription[];
  /** Slots of the GID table, default 16; 0: no table, as on the uplink of a switchdev function with RoCE off. */
  readonly gidSlots?: number;
  /** Default: true, except for link layer Unknown. */
  readonly umad?: boolean;
  /** Default: true on InfiniBand. */
  readonly issm?: boolean;
  /** Default ["0xffff"]. */
  readonly pkeys?: readonly string[];
  /** `counters/`, default true; soft-RoCE has only `hw_counters/`. */
  readonly counters?: boolean;
}

/** A net device that belongs to an HCA. */
export interface NetdevDescription {
  readonly name: string;
  /** The HCA's port whose state it follows, default 1. */
  readonly port?: number;
  /** `ipoib` has ARPHRD type 32 and the port GUID in its address. Default `ether`. */
  readonly type?: "ether" | "ipoib";
  /** Dotted; makes the IPv4-mapped entries of the GID table. */
  readonly ipv4?: string;
  /** Names of the lower net devices: makes this a bond, which is in devices/virtual/net. */
  readonly bond?: readonly string[];
  /** True: a separate device in devices/virtual/net (a dummy or veth below soft-RoCE). */
  readonly virtual?: boolean;
  /** "p0" for the uplink of a switchdev function, "pf0vf1" for the representor of a VF. */
  readonly physPortName?: string;
  /** The embedded switch that it is a port of. */
  readonly physSwitchId?: string;
}

/** The VFs of a PF. Omitted values are taken from the PF. */
export interface VfTemplate {
  /** PCI device ID, four hex digits. */
  readonly device?: string;
  /** PCI driver, if it differs from that of the PF ("iavf"). */
  readonly driver?: string;
  /** Name that the driver requests from the kernel, "mlx5_%d" (the kernel uses the lowest free number). */
  readonly names?: string;
  /** Whether VFs have their own net devices (the PF's name plus `vN`). Default: as the PF. */
  readonly netdevs?: boolean;
  /** Distance of the first VF from the PF in PCI routing IDs, default 2. */
  readonly offset?: number;
  readonly ports?: readonly PortDescription[];
}

/** A sub-function: an auxiliary device below the PCI function `HcaDescription.pci`. */
export interface SubFunction {
  /** `sfnum`, chosen by the operator. */
  readonly number: number;
  /** N of `mlx5_core.sf.N`, chosen by the kernel. */
  readonly index: number;
  /**
   * Real kernels have no `modalias` file for auxiliary devices, and libibverbs gets the driver by netlink. With
   * SYSFS_PATH it only has that file, so the fake host writes the PCI modalias there unless this is false.
   */
  readonly pciModalias?: boolean;
}

export interface HcaDescription {
  readonly name: string;
  /** Four hex digits, no 0x. */
  readonly vendor: string;
  readonly device: string;
  readonly subsystemVendor?: string;
  readonly subsystemDevice?: string;
  /** Six hex digits; default: by the link layer of the first port. */
  readonly pciClass?: string;
  /**
   * A software HCA whose `device` link leads to the NIC at `pci`, as before kernel 5.11; `under` names the device below
   * the function to which the NIC's driver is bound (virtio0).
   */
  readonly software?: { readonly kind: "rxe" | "siw"; readonly parent?: string; readonly under?: string };
  /** PCI driver: "mlx5_core". */
  readonly driver: string;
  readonly nodeType?: "1: CA" | "4: RNIC" | "7: unspecified";
  /** "ec0d:9a03:0012:3456" */
  readonly nodeGuid: string;
  readonly sysImageGuid?: string;
  readonly firmware?: string;
  readonly boardId?: string;
  readonly hcaType?: string;
  /** Full address; null: software HCA in devices/virtual/infiniband with a `parent` file and no `device` link. */
  readonly pci: string | null;
  /** From the root down: ["pci0000:3a", "0000:3a:00.0"]. Default: its own root complex and root port. */
  readonly bridges?: readonly string[];
  /** -1: not known to the kernel. */
  readonly numaNode?: number;
  readonly netdevs?: readonly (string | NetdevDescription)[];
  readonly ports: readonly PortDescription[];
  /** `sriov_totalvfs`; omitted or 0: no SR-IOV files. */
  readonly totalVfs?: number;
  /** VFs from the start. */
  readonly vfs?: number;
  readonly vf?: VfTemplate;
  readonly sf?: SubFunction;
  /** False: ib_uverbs has no entry for it. Default true. */
  readonly uverbs?: boolean;
}

/** A network card without RDMA. */
export interface PlainNic {
  readonly name: string;
  readonly pci: string;
  readonly bridges?: readonly string[];
  readonly vendor: string;
  readonly device: string;
  readonly subsystemDevice?: string;
  readonly driver: string;
  readonly numaNode?: number;
  /** The bond that its net device belongs to. */
  readonly master?: string;
}

/** A machine. */
export interface HostDescription {
  readonly hcas: readonly HcaDescription[];
  /** rdma_ucm is loaded: /dev/infiniband/rdma_cm. Default true. */
  readonly rdmaCm?: boolean;
  readonly knem?: boolean;
  readonly netnsMode?: "shared" | "exclusive";
  readonly plainNics?: readonly PlainNic[];
  /** False: no RDMA module is loaded, and their class directories do not exist. Default true. */
  readonly modules?: boolean;
}

/** The current state of a port, with the texts of the sysfs files. */
export interface PortNow {
  readonly number: number;
  /** "4: ACTIVE" */
  readonly state: string;
  /** "5: LinkUp" */
  readonly physState: string;
  readonly linkLayer: string;
  readonly umad: string | null;
  readonly issm: string | null;
}

/** The current state of an HCA: the expected values for tests. */
export interface HcaNow {
  readonly name: string;
  readonly nodeGuid: string;
  readonly kind: "pf" | "vf" | "sf" | "virtual";
  readonly pci: string | null;
  /** Name of the PF's HCA when this is a VF. */
  readonly pf: string | null;
  readonly vfIndex: number | null;
  readonly numaNode: number | null;
  /** "uverbs0"; null when sysfs has none. */
  readonly uverbs: string | null;
  /** "uverbs0" when its node exists as well. */
  readonly uverbsNode: string | null;
  readonly umads: readonly string[];
  readonly issms: readonly string[];
  readonly netdevs: readonly string[];
  readonly ports: readonly PortNow[];
}

export interface MutationOptions {
  /** Changes the disk without an event, as when a netlink message is lost. */
  readonly quiet?: boolean;
  /**
   * Called between the steps of the mutation, in the kernel's order. The trees are consistent only after the last step.
   */
  readonly between?: () => Promise<void>;
}
