/**
 * Broken hosts, and exactly what the doctor finds on each.
 *
 * @module
 */
import type { Facts } from "../../src/doctor/facts.ts";
import type { NodeFile } from "../../src/doctor/node_files.ts";
import type { VerbsAnswer } from "../../src/hca/types.ts";
import type { DraFacts } from "../../src/doctor/dra_facts.ts";
import { DEFAULT_SPEC, type ResourceSpec } from "../../src/pool/spec.ts";
import { type FakeHost, PRESETS } from "../../sim/mod.ts";
import { IGNORED_KEY } from "../support/codes.ts";
import { addHfis, OMNI_PATH, removeNode } from "../support/class_nodes.ts";
import { HEALTHY_KUBELET as kubelet, type inspected } from "../support/inspected.ts";

/** A broken host, and exactly the findings that it gives. */
export interface Broken {
  readonly what: string;
  readonly finds: readonly string[];
  readonly says: RegExp;
  readonly over?: Partial<Facts>;
  readonly specs?: readonly ResourceSpec[];
  readonly host?: Parameters<typeof inspected>[0];
  readonly change?: (host: FakeHost) => Promise<void>;
  /** What libibverbs answers, unless it agrees with sysfs. */
  readonly verbs?: VerbsAnswer;
}

const DRA_SPEC: ResourceSpec = { ...DEFAULT_SPEC, api: "dra", ids: "pci" };

/** A node with DRA on which all is well but for what is said. */
function dra(over: Partial<DraFacts>): Pick<Facts, "dra"> {
  return {
    dra: {
      driver: "rdma.tencent.com",
      node: "node-1",
      wanted: true,
      registryDir: "/var/lib/kubelet/plugins_registry",
      registryThere: true,
      server: "https://10.0.0.1",
      reason: null,
      missing: [],
      tooOld: false,
      gatesOff: [],
      published: 1,
      expected: 1,
      classes: [],
      allocatable: [],
      claims: [],
      withoutCdi: [],
      unreadable: [],
      ...over,
    },
  };
}

const ofVfs: ResourceSpec = { ...DEFAULT_SPEC, select: [{ masters: ["ib0"] }] };
const function0 = {
  resource: DEFAULT_SPEC.name,
  name: "ib0",
  vfs: 0,
  most: 16,
  file: "/sys/class/net/ib0/device/sriov_numvfs",
};
/** Facts with another file for the node of the one HCA. */
export const node = (over: Partial<NodeFile>): Partial<Facts> => ({
  nodes: new Map([["uverbs0", { kind: "character", dev: "231:192", mode: 0o666, ...over }]]),
});
const nowhere = { hostPath: "/dev/nowhere", containerPath: "/dev/nowhere", permissions: "rw", optional: false };
const drivers = ["mlx5.driver"];
const shared: ResourceSpec = { ...DEFAULT_SPEC, mode: { kind: "shared", shares: 2, of: "all" } };
export const BROKEN: readonly Broken[] = [
  {
    what: "a Deno that keeps the memory of every connection",
    finds: ["warning runtime"],
    says: /Deno 2\.9\.3 never frees the memory of a connection/,
    over: { runtime: "Deno 2.9.3" },
  },
  {
    what: "no modules",
    finds: ["problem rdma-modules"],
    says: /modprobe mlx5_ib/,
    host: "no-modules",
    over: { modules: [] },
  },
  { what: "no HCA", finds: ["problem hcas"], says: /no HCA/, host: "empty" },
  {
    what: "no uverbs entry",
    finds: ["problem uverbs"],
    says: /modprobe ib_uverbs/,
    host: {
      ...PRESETS["connectx-ib-dual"],
      hcas: PRESETS["connectx-ib-dual"].hcas.map((one) => ({ ...one, uverbs: false })),
    },
    over: { modules: ["ib_core", "rdma_ucm"] },
  },
  {
    what: "no uverbs node in /dev",
    finds: ["problem uverbs-node"],
    says: /\/dev\/infiniband\/uverbs0.*mount the host's \/dev/s,
    change: (host) => host.hideUverbsNode("mlx5_0"),
    over: { devDirectory: false },
  },
  {
    what: "no provider",
    finds: ["warning provider"],
    says: /provider library mlx5/,
    over: { providers: { libraries: ["libefa-rdmav34.so"], drivers } },
  },
  { what: "no libibverbs", finds: ["warning provider"], says: /ibverbs-providers/, over: { providers: "missing" } },
  {
    what: "a provider that libibverbs is not told of",
    finds: ["warning provider"],
    says: /libibverbs.d has no mlx5.driver/,
    over: { providers: { libraries: ["libmlx5-rdmav34.so"], drivers: [] } },
  },
  {
    what: "libibverbs without an HCA for which all is there",
    finds: ["warning verbs"],
    says: /does not list mlx5_0.*IBV_SHOW_WARNINGS/s,
    verbs: { kind: "empty" },
  },
  {
    what: "another machine's sysfs",
    finds: ["warning verbs"],
    says: /lists mlx5_7, but \/sys does not have it/,
    verbs: {
      kind: "list",
      devices: [["mlx5_0", "uverbs0"], ["mlx5_7", "uverbs7"]].map(([name, uverbs]) => ({
        name: name!,
        uverbs: uverbs!,
        guid: "",
        nodeType: 1,
      })),
    },
  },
  {
    what: "libibverbs that fails",
    finds: ["warning verbs"],
    says: /failed to list devices \(EIO\)/,
    verbs: { kind: "failed", detail: "EIO" },
  },
  { what: "a directory for a node", finds: ["problem uverbs-node"], says: /rmdir/, over: node({ kind: "directory" }) },
  {
    what: "a file for a node",
    finds: ["problem uverbs-node"],
    says: /not a character device/,
    over: node({ kind: "other" }),
  },
  {
    what: "a stale node",
    finds: ["problem uverbs-node"],
    says: /is device 231:200, but sysfs has 231:192/,
    over: node({ dev: "231:200" }),
  },
  { what: "a node for root only", finds: ["warning uverbs-mode"], says: /chmod 0666/, over: node({ mode: 0o600 }) },
  {
    what: "no ib_umad",
    finds: ["warning umad"],
    says: /modprobe ib_umad/,
    host: {
      ...PRESETS["connectx-ib-dual"],
      hcas: PRESETS["connectx-ib-dual"].hcas.map((one) => ({
        ...one,
        ports: one.ports.map((port) => ({ ...port, umad: false, issm: false })),
      })),
    },
    over: { modules: ["ib_core", "ib_uverbs", "rdma_ucm"] },
  },
  {
    what: "a sandbox that hides sysfs",
    finds: ["problem sandbox"],
    says: /--sysfs-root=\/host\/sys/,
    host: "no-modules",
    over: { refused: ["/sys"], modules: [] },
  },
  {
    what: "a sandbox that hides the kubelet's directory",
    finds: ["problem sandbox"],
    says: /--allow-write/,
    over: { refused: [kubelet.dir], kubelet: { ...kubelet, state: "sandboxed", socket: "missing" } },
  },
  {
    what: "a configuration that may not be meant so",
    finds: ["warning config"],
    says: /c\.json:3:5: pf_range: unknown key \[unknown-key\]/,
    over: { configWarnings: [IGNORED_KEY] },
  },
  {
    what: "no virtual functions",
    finds: ["problem no-vfs"],
    says: /ib0, which has none \(16 are possible\).*echo 4 > \/sys\/class\/net\/ib0/s,
    specs: [ofVfs],
    over: { functions: [{ ...function0, instead: null }] },
  },
  {
    what: "no such physical function",
    finds: ["problem no-vfs"],
    says: /no such interface \(there are eth0\)/,
    specs: [ofVfs],
    over: {
      functions: [{ ...function0, vfs: null, most: null, file: null, instead: "no such interface (there are eth0)" }],
    },
  },
  {
    what: "an ABI that the provider does not cover",
    finds: ["problem provider-abi"],
    says: /ABI version 99 for mlx5_0/,
    change: (host) => {
      Deno.writeTextFileSync(`${host.sysfsRoot}/class/infiniband_verbs/uverbs0/abi_version`, "99\n");
      return Promise.resolve();
    },
  },
  {
    what: "no rdma_cm",
    finds: ["warning rdma-cm"],
    says: /modprobe rdma_ucm/,
    change: (host) => host.setRdmaCm(false),
    over: { modules: ["ib_core"] },
  },
  {
    what: "a cable out",
    finds: ["warning hca-unhealthy"],
    says: /port 1 is DOWN.*check the cable, its transceivers/s,
    change: (host) => host.carrierLost("mlx5_0", 1),
  },
  {
    what: "no subnet manager",
    finds: ["warning hca-unhealthy"],
    says: /port 1 is INIT.*no subnet manager has configured the port/s,
    change: (host) => host.portInit("mlx5_0", 1),
  },
  {
    what: "a device in expose.devices that the host lacks",
    finds: ["problem extra-node"],
    says: /tencent\.com\/rdma: \/dev\/nowhere, which expose\.devices asks for.*mlx5_0 is Unhealthy.*optional: true/s,
    specs: [{ ...DEFAULT_SPEC, expose: { ...DEFAULT_SPEC.expose, devices: [nowhere] } }],
  },
  {
    what: "a companion node that the host lacks",
    finds: ["problem extra-node"],
    says: /\/dev\/hfi1_1 does not exist, though sysfs has its device.*hfi1_0 is Unhealthy.*udevadm/s,
    host: OMNI_PATH,
    change: (host) => {
      addHfis(host);
      removeNode(host, "hfi1_1");
      return Promise.resolve();
    },
    over: { providers: "hidden" },
  },
  {
    what: "an adapter without the class device that its library needs",
    finds: ["warning extra-node", "warning extra-node"],
    says: /hfi1_0's driver hfi1 has not registered a device of class hfi1_user.*PSM2/s,
    host: OMNI_PATH,
    over: { providers: "hidden" },
  },
  {
    what: "a selector that selects nothing",
    finds: ["problem selects-nothing"],
    says: /its vendor is 15b3, wanted: 8086/,
    specs: [{ ...DEFAULT_SPEC, select: [{ vendors: ["8086"] }] }],
  },
  {
    what: "exclusive net namespaces under a shared resource",
    finds: ["problem netns-mode"],
    says: /rdma system set netns shared/,
    host: { ...PRESETS["connectx-ib-dual"], netnsMode: "exclusive" },
    specs: [shared],
  },
  {
    what: "exclusive net namespaces",
    finds: ["warning netns-mode"],
    says: /rdma-cni/,
    host: { ...PRESETS["connectx-ib-dual"], netnsMode: "exclusive" },
  },
  {
    what: "an unwritable kubelet directory",
    finds: ["problem kubelet-dir"],
    says: /mounted read-only/,
    over: { kubelet: { ...kubelet, state: "read-only" } },
  },
  {
    what: "a kubelet directory of somebody else's",
    finds: ["problem kubelet-dir"],
    says: /not writable for this process/,
    over: { kubelet: { ...kubelet, state: "denied" } },
  },
  {
    what: "a kubelet.sock that may not be connected to, under SELinux",
    finds: ["problem kubelet-dir", "warning selinux"],
    says: /as system_u:system_r:container_t:s0.*ausearch/s,
    over: { kubelet: { ...kubelet, socket: "denied" }, selinux: "system_u:system_r:container_t:s0" },
  },
  {
    what: "no kubelet directory",
    finds: ["problem kubelet-dir"],
    says: /--kubelet-dir/,
    over: { kubelet: { ...kubelet, state: "missing" } },
  },
  {
    what: "no kubelet.sock",
    finds: ["problem kubelet-down"],
    says: /does not exist/,
    over: { kubelet: { ...kubelet, socket: "missing" } },
  },
  {
    what: "a dead kubelet",
    finds: ["problem kubelet-down"],
    says: /systemctl status kubelet/,
    over: { kubelet: { ...kubelet, socket: "refuses" } },
  },
  {
    what: "a taken name",
    finds: ["warning name-taken"],
    says: /other plugins' sockets here: other.sock.*another plugin has registered the same name/s,
    over: { kubelet: { ...kubelet, takenNames: [DEFAULT_SPEC.name], otherSockets: ["other.sock"] } },
  },
  {
    what: "a long path",
    finds: ["problem socket-path"],
    says: /shorter/,
    over: { kubelet: { ...kubelet, longPaths: ["Cannot serve on /x: too long"] } },
  },
  {
    what: "little lockable memory",
    finds: ["warning memlock"],
    says: /64 KiB.*LimitMEMLOCK/s,
    over: { memlock: 65536 },
  },
  {
    what: "few inotify instances",
    finds: ["warning inotify"],
    says: /max_user_instances is 8/,
    over: { inotifyInstances: 8 },
  },
  {
    what: "an unwritable CDI directory",
    finds: ["problem cdi-dir"],
    says: /--cdi-dir/,
    specs: [{ ...DEFAULT_SPEC, cdi: true }],
    over: { cdi: { dir: "/var/run/cdi", state: "read-only" } },
  },
  {
    what: "an API server that cannot be reached",
    finds: ["problem dra-api"],
    says: /cannot be reached \(ECONNREFUSED\).*image-dra/s,
    specs: [DRA_SPEC],
    over: dra({ reason: "the API server https://10.0.0.1 cannot be reached (ECONNREFUSED)" }),
  },
  {
    what: "DRA outside a cluster and without the plugin watcher's directory",
    finds: ["problem dra-api", "problem dra-api"],
    says: /no API server is known.*--kube-api/s,
    specs: [DRA_SPEC],
    over: dra({ server: null, registryThere: false }),
  },
  {
    what: "an API server without resource.k8s.io/v1",
    finds: ["problem dra-api"],
    says: /1\.34/,
    specs: [DRA_SPEC],
    over: dra({ tooOld: true }),
  },
  {
    what: "missing rights at the API server",
    finds: ["problem dra-rights"],
    says: /may not: create resourceslices, get nodes.*rbac\.yaml/s,
    specs: [DRA_SPEC],
    over: dra({ missing: ["create resourceslices", "get nodes"] }),
  },
  {
    what: "feature gates that are off",
    finds: ["warning dra-gates"],
    says: /DRADeviceTaints, DRAConsumableCapacity off/,
    specs: [DRA_SPEC],
    over: dra({ gatesOff: ["DRADeviceTaints", "DRAConsumableCapacity"] }),
  },
  {
    what: "slices that say something else than the machine",
    finds: ["warning dra-slices"],
    says: /0 devices in the ResourceSlices of node-1, and there should be 1/,
    specs: [DRA_SPEC],
    over: dra({ published: 0 }),
  },
  {
    what: "a DeviceClass with the name of a device plugin's resource, and two with one name",
    finds: ["warning dra-class", "warning dra-class"],
    says:
      /DeviceClass a has the name x\/nic, which this node offers through a device plugin.*several DeviceClasses.*among them c/s,
    specs: [DRA_SPEC],
    over: dra({
      allocatable: ["cpu", "x/nic"],
      classes: [
        { name: "a", extendedResourceName: "x/nic" },
        { name: "b", extendedResourceName: "x/other" },
        { name: "c", extendedResourceName: "x/other" },
        { name: "d", extendedResourceName: null },
      ],
    }),
  },
  {
    what: "a claim whose CDI file is gone, and a record that cannot be read",
    finds: ["problem dra-claims", "warning dra-claims"],
    says: /CDI file of claim default\/one is gone.*u-9\.json cannot be read/s,
    over: dra({ wanted: false, claims: ["default/one"], withoutCdi: ["default/one"], unreadable: ["/x/u-9.json"] }),
  },
];
