/**
 * The plugin's own config format, defined once: the TypeScript types, the checks, the JSON Schema and the reference
 * table in docs/configuration.md are derived from it.
 *
 * @module
 */
import * as z from "zod";
import { DEFAULT_SPEC } from "../pool/spec.ts";
import { COUNTER_NAME } from "../hca/counter_facts.ts";
import { ERROR_RATE, errorRateProblem } from "./error_rules.ts";
import { devicePathProblem, mountPathProblem } from "./device_path.ts";
import { durationText } from "../text/duration.ts";
import { nameProblem } from "./name.ts";
import { quote } from "../text/printable.ts";
import { duration, either, flag, list, object, refuse, text, whole, word } from "./parts.ts";
import { readPf } from "./vf_ranges.ts";

const D = DEFAULT_SPEC;
/** A day; longer durations are a wrong unit. */
const LONGEST_MS = 86_400_000;

const HEX_ID = text(/^(0[xX])?[0-9a-fA-F]{1,4}$/, `up to four hex digits such as "15b3", with or without 0x`)
  // YAML reads unquoted digits as numbers; `plain` returns them as they were written.
  .meta({ type: ["string", "number"] });
const PKEY = text(/^(0[xX])?[0-9a-fA-F]{1,4}$/, `a partition key such as "0x8001"`)
  .meta({ type: ["string", "number"] });
/** The kernel's IFNAMSIZ is 16 with the final NUL. */
const NETDEV = text(/^[^\s/#,]{1,15}$/, "a net device name of up to 15 characters, * and ? allowed");
/** IB_DEVICE_NAME_MAX is 64 with the final NUL. */
const HCA = text(/^[^\s/,]{1,63}$/, "an HCA name such as mlx5_0, * and ? allowed");
const DRIVER = text(/^[\w*?-]{1,63}$/, "a driver name such as mlx5_core or mlx5_ib, * and ? allowed");
const PCI = text(
  /^(?:[0-9a-fA-F]{4,8}:[0-9a-fA-F]{2}:[0-9a-fA-F]{2}\.[0-7]|(?=[^*?]*[*?])[0-9a-fA-F:.*?]{1,32})$/,
  `a full PCI address such as "0000:3b:00.0", * and ? allowed`,
);
const PATH = text(
  /^(?![^]*\/\.\.(?:\/|$))\/[^\0]{1,4000}$/,
  `an absolute path without ".."`,
);
const checked = (problemOf: (path: string) => string | null) =>
  PATH.superRefine((path, context) => {
    const problem = problemOf(path);
    if (problem !== null) refuse(context, "invalid-format", `found ${quote(path)}: ${problem}`);
  });
/** A device node: one path, or one per HCA with placeholders. */
const DEVICE_PATH = checked(devicePathProblem);
const MOUNT_PATH = checked(mountPathProblem);
const PF = z.string({ error: `a PF with or without VF numbers, such as "eth1" or "eth1#0-7,9"` })
  .superRefine((value, context) => {
    const read = readPf(value);
    if (!read.ok) refuse(context, read.code, `found ${JSON.stringify(value.slice(0, 60))}: ${read.problem}`);
  })
  .meta({ pattern: "^[^\\s/#,]{1,63}(#\\d+(-\\d+)?(,\\d+(-\\d+)?)*)?$" });
/** Environment variables: the C identifier form, which all shells and runtimes accept. */
const VARIABLE = text(/^[A-Za-z_][A-Za-z0-9_]*$/, `a variable name: letters, digits and "_", no digit first`);
const VALUE = text(/^[^\0]*$/, `text (put numbers, true and false in quotes)`);

/** Conditions on one HCA. */
export const Selector = object({
  hcas: list(HCA, "a list of HCA names").optional().describe("Names of HCAs (`/sys/class/infiniband`)."),
  vendors: list(HEX_ID, "a list of PCI vendor IDs").optional().describe("PCI vendor IDs."),
  devices: list(HEX_ID, "a list of PCI device IDs").optional().describe("PCI device IDs."),
  drivers: list(DRIVER, "a list of driver names").optional()
    .describe("Drivers: the PCI function's (`mlx5_core`) or the RDMA driver on it (`mlx5_ib`)."),
  pciAddresses: list(PCI, "a list of PCI addresses").optional().describe("PCI addresses, with their domain."),
  netdevs: list(NETDEV, "a list of net device names").optional()
    .describe("Net devices; one of the HCA's net devices has to match."),
  pfs: list(PF, "a list of PFs").optional()
    .describe(
      "PFs by net device name or PCI address. `eth1`: the PF and all its VFs; `eth1#0-7,9`: those VFs only. " +
        "With `kinds: [sf]`: their sub-functions.",
    ),
  masters: list(NETDEV, "a list of net device names of PFs").optional()
    .describe("Net devices of PFs: their VFs, never the PF itself."),
  linkLayers: list(word(["InfiniBand", "Ethernet"]), "a list of InfiniBand, Ethernet").optional()
    .describe("Link layer of a port."),
  transports: list(word(["IB", "RoCE", "iWARP", "EFA"]), "a list of IB, RoCE, iWARP, EFA").optional()
    .describe("Wire protocol."),
  numaNodes: list(whole(0, 4_095), "a list of NUMA node numbers").optional()
    .describe("NUMA nodes. An HCA without a NUMA node matches none."),
  kinds: list(word(["pf", "vf", "sf", "virtual"]), "a list of pf, vf, sf, virtual").optional()
    .describe("Physical function, virtual function, sub-function, or software (soft-RoCE, soft-iWARP)."),
  minRate: z.number({ error: "a number of Gb/s greater than 0" }).positive({ error: "a number of Gb/s greater than 0" })
    .max(100_000, { error: "a number of Gb/s, at most 100,000" }).optional()
    .describe("Minimum rate in Gb/s; at least one port must reach it."),
  pkeys: list(PKEY, "a list of partition keys").optional()
    .describe("Partition key at index 0 of an InfiniBand port; the membership bit (0x8000) counts."),
  pfWithVfs: flag().optional().describe("`true`: only PFs that have VFs now. `false`: everything else."),
}, "a mapping of selector keys").meta({ id: "Selector" });

/** A file name in `counters` or `hw_counters`. */
const COUNTER = text(COUNTER_NAME, `a counter's file name such as "link_downed"`);
const RATE = z.string({ error: `a limit and a window such as "5 per 10m"` }).superRefine((value, context) => {
  const problem = errorRateProblem(value);
  if (problem !== null) refuse(context, problem.code, `found ${quote(value.slice(0, 60))}: ${problem.message}`);
}).meta({ pattern: ERROR_RATE.source });

const Health = object({
  policy: word(["auto", "port-active", "link-up", "present"]).default(D.health.policy)
    .describe(
      "`auto`: `present` for VFs and sub-functions, whose link is set up inside the pod, `port-active` for the rest; " +
        "`port-active`: port state ACTIVE; `link-up`: physical state LinkUp; `present`: HCA and uverbs node exist.",
    ),
  ports: either(
    word(["any", "all"]),
    list(whole(1, 255), "a list of port numbers"),
    "any, all, or a list of port numbers",
  )
    .default("any").describe("Ports that count: any port of the HCA, all of them, or those listed."),
  require: word(["any", "all"]).optional()
    .describe("With a list of ports: whether one of them is enough (`any`, the default) or all are needed."),
  settle: duration(0, LONGEST_MS).default(durationText(D.health.settleMs))
    .describe("How long all requirements must hold before a device becomes Healthy."),
  grace: duration(0, LONGEST_MS).default(durationText(D.health.graceMs))
    .describe("How long the devices of a removed HCA stay in the list as Unhealthy."),
  errors: z.record(COUNTER, RATE, { error: `a mapping of counters to limits such as "5 per 10m"` }).optional()
    .describe(
      'Counters and how many errors within which time make a device Unhealthy: `link_downed: "5 per 10m"`. ' +
        "Without it no counter is read for health.",
    ),
}, "a mapping of health settings").meta({ id: "Health" });

const DeviceObject = object({
  hostPath: DEVICE_PATH.describe(
    "Device node on the host. `{hca}`, `{pci}` (PCI address) and `{class:NAME}` (the device of that sysfs class on the " +
      "HCA's PCI function, such as `{class:ptp}`) are filled in for each HCA.",
  ),
  containerPath: DEVICE_PATH.optional().describe("Path in the container; default: the path on the host."),
  permissions: text(/^(?!.*(.).*\1)[rwm]{1,3}$/, `some of the letters r, w, m, each once, such as "rw"`).default("rw")
    .describe("Rights of the container's device cgroup: read, write, mknod."),
  optional: flag().default(false).describe(
    "Skipped where the host does not have it; otherwise the devices are Unhealthy there.",
  ),
}, "a mapping with hostPath");

const MountObject = object({
  hostPath: MOUNT_PATH.describe("File or directory on the host."),
  containerPath: MOUNT_PATH.optional().describe("Path in the container; default: the path on the host."),
  readOnly: flag().default(true).describe("Whether it is read-only in the container."),
}, "a mapping with hostPath");

const Expose = object({
  rdmaCm: flag().default(D.expose.rdmaCm).describe("`/dev/infiniband/rdma_cm`, the connection manager."),
  umad: flag().default(D.expose.umad).describe("`umadN` of every port: management datagrams."),
  issm: flag().default(D.expose.issm).describe("`issmN` of every port: only subnet managers need it."),
  knem: flag().default(D.expose.knem).describe("`/dev/knem`, shared-memory transport of some MPIs."),
  companions: flag().default(D.expose.companions)
    .describe("The HCA's own nodes besides verbs nodes: `/dev/hfi1_N` (Omni-Path), `/dev/cxiN` (Slingshot)."),
  devices: list(either(DEVICE_PATH, DeviceObject, "a path or a mapping with hostPath"), "a list of device nodes")
    .optional()
    .describe("More device nodes."),
  mounts: list(either(MOUNT_PATH, MountObject, "a path or a mapping with hostPath"), "a list of mounts").optional()
    .describe("Files and directories to mount."),
}, "a mapping of what containers get").meta({ id: "Expose" });

const Env = object({
  rdma: flag().default(D.env.rdma)
    .describe(
      "`RDMA_HCAS`, `RDMA_PCI_ADDRESSES`, `RDMA_NETDEVS`, `RDMA_UVERBS`, and each of them with the resource's name appended.",
    ),
  nccl: flag().default(D.env.nccl).describe("`NCCL_IB_HCA` for the container's HCAs."),
  ucx: flag().default(D.env.ucx).describe("`UCX_NET_DEVICES` for the container's HCAs."),
  pcidevice: flag().default(D.env.pcidevice)
    .describe("`PCIDEVICE_…` and `PCIDEVICE_…_INFO` as the SR-IOV network device plugin sets them."),
  pcideviceInfo: z.record(
    either(z.literal("*"), PCI, "a PCI address or *"),
    z.record(text(/^[^\s]{1,253}$/, "a key without spaces"), VALUE, { error: "a mapping of keys to texts" }),
    { error: "a mapping of PCI addresses (or *) to mappings" },
  ).optional().describe("`extraInfo` for `PCIDEVICE_…_INFO`, by PCI address; `*` for all."),
  extra: z.record(VARIABLE, VALUE, { error: "a mapping of variable names to texts" }).optional()
    .describe("Fixed variables."),
}, "a mapping of environment settings").meta({ id: "Env" });

const Dra = object({
  taint: word(["NoSchedule", "NoExecute", "None"]).default(D.dra.taint)
    .describe(
      "Effect of the taint on a device that is not Healthy. `NoSchedule`: no new pod gets it; `NoExecute`: pods that use it " +
        "are deleted as well; `None`: it is only reported.",
    ),
  bandwidth: flag().default(D.dra.bandwidth)
    .describe("Publish the link rate as capacity `bandwidth`, of which claims can request a part with `mode: shared`."),
  pfExcludesVfs: flag().default(D.dra.pfExcludesVfs)
    .describe("While a claim has a PF, its VFs are not allocated, and vice versa."),
}, "a mapping of DRA settings").meta({ id: "Dra" });

/** Maximum number of shares. The kubelet may accept fewer; see `specWarnings`. */
export const MOST_SHARES = 100_000;

/** One extended resource in the file. */
export const Resource = object({
  name: z.string({ error: "an extended resource name such as rdma/rail0" })
    .superRefine((name, context) => {
      const problem = nameProblem(name);
      if (problem !== null) refuse(context, "invalid-name", `the name ${JSON.stringify(name.slice(0, 80))} ${problem}`);
    })
    .meta({ pattern: "^[a-z0-9]([-a-z0-9.]*[a-z0-9])?/[A-Za-z0-9]([-A-Za-z0-9_.]{0,61}[A-Za-z0-9])?$" })
    .describe("Name that pods request under `resources.limits`."),
  api: word(["device-plugin", "dra"]).default(D.api)
    .describe(
      "`device-plugin`: pods request a number of devices. `dra`: the HCAs are published as ResourceSlices and pods have " +
        "ResourceClaims (docs/dra.md). An HCA is offered through one of the two only.",
    ),
  dra: Dra.prefault({}).describe("With `api: dra`: taints and capacities."),
  mode: word(["exclusive", "shared"]).default("exclusive")
    .describe("`exclusive`: one device per HCA. `shared`: `shares` devices, see `share`."),
  shares: whole(1, MOST_SHARES).optional().describe("With `mode: shared`, and needed then: how many devices."),
  share: word(["all", "one"]).optional()
    .describe(
      "Required with `mode: shared`. `all`: `shares` devices in total; each gives the pod every HCA of the resource. " +
        "`one`: `shares` devices per HCA; each gives the pod that HCA.",
    ),
  ids: word(["name", "pci"]).default(D.ids)
    .describe(
      "Device IDs: HCA names, or PCI addresses (one device per PCI function, as Multus expects for VFs; for sub-functions the " +
        "names of their auxiliary devices).",
    ),
  select: either(Selector, list(Selector, "a list of selectors"), "a selector or a list of selectors").optional()
    .describe("HCAs of the resource. One selector of the list has to match; without selectors, every HCA does."),
  exclude: either(Selector, list(Selector, "a list of selectors"), "a selector or a list of selectors").optional()
    .describe("HCAs to leave out although `select` matches them."),
  health: Health.prefault({}).describe("When a device is Healthy."),
  expose: Expose.prefault({}).describe("What a container gets besides the uverbs node, if the host has it."),
  env: Env.prefault({}).describe("Environment variables of the container."),
  cdi: flag().default(D.cdi).describe("Answer with CDI device names instead of device nodes."),
  prefer: word(["pack", "spread", "least-used"]).default(D.prefer)
    .describe(
      "Devices that the kubelet should prefer. `pack`: one NUMA node, one PCIe root; `spread`: different ports and " +
        "roots; `least-used`: with `share: one`, the HCAs with the fewest shares in use.",
    ),
  topology: flag().default(D.topology).describe("Report each device's NUMA node to the kubelet."),
  overlap: flag().default(D.overlap)
    .describe("With `mode: shared`: allow HCAs that another shared resource with `overlap: true` has as well."),
}, "a mapping with name").meta({ id: "Resource" });

/** The whole file. */
export const ConfigFile = object({
  version: word(["v1"]).optional().describe("Version of this format."),
  rescan: either(
    z.literal(0),
    duration(1_000, LONGEST_MS),
    `a duration from 1s to 24h such as "30s" or "5m", or 0 for never`,
  ).optional().describe("How often to scan the hardware without an event; 0: never."),
  resources: list(Resource, "a list of resources").describe("The extended resources of the node."),
}, "a mapping with resources");

export type SelectorInput = z.infer<typeof Selector>;
export type ResourceInput = z.infer<typeof Resource>;
/** Sections of the reference in reading order: the key and its schema. */
export const SECTIONS = [
  ["", ConfigFile],
  ["resources[]", Resource],
  ["resources[].select, resources[].exclude", Selector],
  ["resources[].health", Health],
  ["resources[].expose", Expose],
  ["resources[].expose.devices[]", DeviceObject],
  ["resources[].expose.mounts[]", MountObject],
  ["resources[].env", Env],
  ["resources[].dra", Dra],
] as const;
