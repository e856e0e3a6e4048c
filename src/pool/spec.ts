/**
 * The configuration in a single form: the flags, the plugin's own config file and the peers' config files are converted
 * to it, and the code in this folder uses nothing else. Plain immutable values.
 *
 * @module
 */
import type { HcaKind, LinkLayer, Transport } from "../hca/types.ts";

/** How HCAs become devices. */
export type Mode =
  /** One device per HCA. */
  | { readonly kind: "exclusive" }
  /** `shares` devices that each give every HCA of the pool (`all`), or `shares` devices per HCA (`one`). */
  | { readonly kind: "shared"; readonly shares: number; readonly of: "all" | "one" };

/** A physical function, by net device name or PCI address, and the indices of its VFs. */
export interface PfRange {
  readonly pf: string;
  /** VF indices; null for the PF itself and all its VFs. */
  readonly vfs: readonly number[] | null;
}

/**
 * Conditions on one HCA. All given conditions must hold (AND); a condition holds when one of its values matches (OR).
 * An empty object matches every HCA.
 */
export interface Selector {
  /** HCA names, globs with `*` and `?`. */
  readonly hcas?: readonly string[];
  /** PCI vendor IDs, four hex digits, lower case. */
  readonly vendors?: readonly string[];
  /** PCI device IDs, four hex digits, lower case. */
  readonly devices?: readonly string[];
  /** PCI driver names ("mlx5_core"), or the RDMA driver's ("mlx5_ib"). */
  readonly drivers?: readonly string[];
  /** Full PCI addresses "0000:3b:00.0", globs allowed. */
  readonly pciAddresses?: readonly string[];
  /** Net device names, globs; matches when one net device of the HCA does. */
  readonly netdevs?: readonly string[];
  /** PFs and their VFs: "eth1" (PF and VFs), "eth1#0-7" (those VFs); with `kinds: [sf]` their sub-functions. */
  readonly pfs?: readonly PfRange[];
  /** As `pfs`, and both must hold: the SR-IOV plugin's files may name a PF in two ways. */
  readonly rootDevices?: readonly PfRange[];
  /** Net device names of PFs: their VFs, never the PF itself. */
  readonly masters?: readonly string[];
  readonly linkLayers?: readonly LinkLayer[];
  readonly transports?: readonly Transport[];
  readonly numaNodes?: readonly number[];
  readonly kinds?: readonly HcaKind[];
  /** Gb/s; matches when one port is at least this fast. */
  readonly minRateGbps?: number;
  /** Partition keys at index 0 of an InfiniBand port, "0x8001"; the membership bit counts. */
  readonly pkeys?: readonly string[];
  /** True: only PFs that have VFs (the SR-IOV plugin leaves those out); false: everything else. */
  readonly pfWithVfs?: boolean;
}

/** Errors in a counter that make a device Unhealthy: `limit` or more within the window. */
export interface ErrorRule {
  /** Name of the file in `ports/N/counters` or `hw_counters`: "link_downed". */
  readonly counter: string;
  readonly limit: number;
  /** Milliseconds. */
  readonly windowMs: number;
}

/** When a device of the resource is Healthy, besides its HCA and uverbs node being present. */
export interface HealthPolicy {
  /**
   * `port-active`: port state ACTIVE. `link-up`: physical state LinkUp. `present`: nothing more. `auto`: `present` for
   * VFs and sub-functions, whose link is set up inside the pod, and `port-active` otherwise.
   */
  readonly policy: "auto" | "port-active" | "link-up" | "present";
  /** The ports that count; null for all ports of the HCA. */
  readonly ports: readonly number[] | null;
  /** Whether one of these ports is enough. */
  readonly require: "any" | "all";
  /** Milliseconds that all requirements must hold before Unhealthy becomes Healthy. */
  readonly settleMs: number;
  /** Milliseconds that the devices of a removed HCA stay in the list as Unhealthy. */
  readonly graceMs: number;
  /** Empty: no counter is read. */
  readonly errors: readonly ErrorRule[];
}

/**
 * Paths may contain `{hca}`, `{pci}` and `{class:NAME}` for a device per HCA; otherwise it is the same for all HCAs.
 */
export interface ExtraDevice {
  readonly hostPath: string;
  readonly containerPath: string;
  /** Some of "r", "w", "m". */
  readonly permissions: string;
  /** Skipped without a message when the host does not have it. */
  readonly optional: boolean;
}

export interface ExtraMount {
  readonly hostPath: string;
  readonly containerPath: string;
  readonly readOnly: boolean;
}

/** What a container gets besides the uverbs node, if the host has it. */
export interface Expose {
  readonly rdmaCm: boolean;
  readonly umad: boolean;
  readonly issm: boolean;
  readonly knem: boolean;
  /** The HCA's own nodes besides verbs nodes: /dev/hfi1_0, /dev/cxi0. */
  readonly companions: boolean;
  readonly devices: readonly ExtraDevice[];
  readonly mounts: readonly ExtraMount[];
}

/** Environment variables of the container. */
export interface EnvPolicy {
  /** The plugin's RDMA_… variables: HCA names, PCI addresses, net devices, uverbs nodes. */
  readonly rdma: boolean;
  /** NCCL_IB_HCA */
  readonly nccl: boolean;
  /** UCX_NET_DEVICES */
  readonly ucx: boolean;
  /** PCIDEVICE_<NAME> and PCIDEVICE_<NAME>_INFO in the form of the SR-IOV network device plugin. */
  readonly pcidevice: boolean;
  /** Extra information for PCIDEVICE_…_INFO by PCI address, "*" for all; the SR-IOV plugin's `additionalInfo`. */
  readonly pcideviceInfo: Readonly<Record<string, Readonly<Record<string, string>>>>;
  /** Fixed variables. */
  readonly extra: Readonly<Record<string, string>>;
}

/** How GetPreferredAllocation chooses. */
export type Prefer = "pack" | "spread" | "least-used";

/** Which of the kubelet's two APIs offers the HCAs of a resource. */
export type Api = "device-plugin" | "dra";

/** What only resources with `api: dra` have. */
export interface DraPolicy {
  /** Effect of the taints of a device that is not healthy. */
  readonly taint: "NoSchedule" | "NoExecute" | "None";
  /** Whether claims can ask for a part of the link rate. */
  readonly bandwidth: boolean;
  /** A PF that is in use keeps its VFs from being allocated, and the other way round. */
  readonly pfExcludesVfs: boolean;
}

/** One extended resource. */
export interface ResourceSpec {
  /** Extended resource name, "domain/name". */
  readonly name: string;
  readonly api: Api;
  readonly dra: DraPolicy;
  readonly mode: Mode;
  /** The base of device IDs. `pci`: one device per PCI function with every HCA on it (as Multus expects). */
  readonly ids: "name" | "pci";
  /** An HCA is selected when one of these matches; an empty list matches every HCA. */
  readonly select: readonly Selector[];
  /** An HCA is left out when one of these matches. */
  readonly exclude: readonly Selector[];
  readonly health: HealthPolicy;
  readonly expose: Expose;
  readonly env: EnvPolicy;
  /** Answer Allocate with CDI names instead of device nodes. */
  readonly cdi: boolean;
  readonly prefer: Prefer;
  /** Whether devices carry their NUMA node. */
  readonly topology: boolean;
  /** Whether a shared resource may have HCAs that another shared resource with this option also has. */
  readonly overlap: boolean;
}

/** The values for a resource of which only the name is configured. */
export const DEFAULT_SPEC: ResourceSpec = {
  name: "tencent.com/rdma",
  api: "device-plugin",
  dra: { taint: "NoSchedule", bandwidth: false, pfExcludesVfs: false },
  mode: { kind: "exclusive" },
  ids: "name",
  select: [],
  exclude: [],
  health: { policy: "auto", ports: null, require: "any", settleMs: 1_000, graceMs: 60_000, errors: [] },
  expose: { rdmaCm: true, umad: true, issm: true, knem: true, companions: true, devices: [], mounts: [] },
  env: { rdma: true, nccl: false, ucx: false, pcidevice: false, pcideviceInfo: {}, extra: {} },
  cdi: false,
  prefer: "pack",
  topology: true,
  overlap: false,
};
