/**
 * What a fake host is described by and how it is reported: plain values, no behaviour.
 *
 * @module
 */

/** Port states a description can start with. */
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
  /** What `link_layer` says; EFA says "Unknown". */
  readonly linkLayer: "InfiniBand" | "Ethernet" | "Unknown";
  /** Default ACTIVE. */
  readonly state?: PortStateName;
  /** Default "5: LinkUp", and "2: Polling" (a cable that is not there) with DOWN. */
  readonly physState?: string;
  /** Default by link layer: "400 Gb/sec (4X NDR)" or "100 Gb/sec (4X EDR)". */
  readonly rate?: string;
  /** Default 0, and port-dependent on InfiniBand. */
  readonly lid?: number;
  readonly smLid?: number;
  /** Default: what the driver would fill in for the port's net device and link layer. */
  readonly gids?: readonly GidDescription[];
  /** Slots of the GID table, default 16; 0: no table, as on the uplink of a switchdev function with RoCE off. */
  readonly gidSlots?: number;
  /** Default: true but for link layer Unknown. */
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
  /** Names of the net devices below: makes this a bond, which lives in devices/virtual/net. */
  readonly bond?: readonly string[];
  /** True: a device of its own in devices/virtual/net (a dummy or veth below soft-RoCE). */
  readonly virtual?: boolean;
  /** "p0" for the uplink of a switchdev function, "pf0vf1" for the representor of a VF. */
  readonly physPortName?: string;
  /** The embedded switch that it is a port of. */
  readonly physSwitchId?: string;
}

/** How the VFs of a PF look. What is left out is taken from the PF. */
export interface VfTemplate {
  /** PCI device ID, four hex digits. */
  readonly device?: string;
  /** PCI driver, where VFs have another one than their PF ("iavf"). */
  readonly driver?: string;
  /** Name that the driver asks the kernel for, "mlx5_%d" (the kernel takes the lowest free number). */
  readonly names?: string;
  /** VFs get net devices of their own (PF's name plus `vN`). Default: as the PF. */
  readonly netdevs?: boolean;
  /** First VF's distance from the PF in PCI routing IDs, default 2. */
  readonly offset?: number;
  readonly ports?: readonly PortDescription[];
}

/** A sub-function: an auxiliary device below the PCI function `HcaDescription.pci`. */
export interface SubFunction {
  /** `sfnum`, what the operator chose. */
  readonly number: number;
  /** N of `mlx5_core.sf.N`, what the kernel chose. */
  readonly index: number;
  /**
   * Real kernels have no `modalias` file for auxiliary devices and libibverbs learns the driver by netlink. Over
   * SYSFS_PATH that file is all it has, so the fake host writes the PCI one there unless this is false.
   */
  readonly pciModalias?: boolean;
}

/** One HCA. */
export interface HcaDescription {
  readonly name: string;
  /** Four hex digits, no 0x. */
  readonly vendor: string;
  readonly device: string;
  readonly subsystemVendor?: string;
  readonly subsystemDevice?: string;
  /** Six hex digits; by the first port's link layer when it is not given. */
  readonly pciClass?: string;
  /**
   * A software HCA whose `device` link leads to the NIC at `pci`, as before kernel 5.11; `under` names the device below
   * the function that the NIC's driver is bound to (virtio0).
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
  /** From the root down: ["pci0000:3a", "0000:3a:00.0"]. Default: a root complex and a root port of its own. */
  readonly bridges?: readonly string[];
  /** -1: the kernel does not know. */
  readonly numaNode?: number;
  readonly netdevs?: readonly (string | NetdevDescription)[];
  readonly ports: readonly PortDescription[];
  /** `sriov_totalvfs`; left out or 0: no SR-IOV files. */
  readonly totalVfs?: number;
  /** VFs that exist from the start. */
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

/** A whole machine. */
export interface HostDescription {
  readonly hcas: readonly HcaDescription[];
  /** rdma_ucm is loaded: /dev/infiniband/rdma_cm. Default true. */
  readonly rdmaCm?: boolean;
  readonly knem?: boolean;
  readonly netnsMode?: "shared" | "exclusive";
  readonly plainNics?: readonly PlainNic[];
  /** False: no RDMA module is loaded, none of their class directories exists. Default true. */
  readonly modules?: boolean;
}

/** One port as it is now, with the words of the sysfs files. */
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

/** One HCA as it is now: the answer key for tests. */
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
  /** "uverbs0" when its node is there too. */
  readonly uverbsNode: string | null;
  readonly umads: readonly string[];
  readonly issms: readonly string[];
  readonly netdevs: readonly string[];
  readonly ports: readonly PortNow[];
}

/** How one mutation is to be done. */
export interface MutationOptions {
  /** Changes the disk without an event: what the plugin sees when a netlink message is lost. */
  readonly quiet?: boolean;
  /** Called between the steps of the mutation, in the kernel's order. Everything is consistent only after the last. */
  readonly between?: () => Promise<void>;
}
