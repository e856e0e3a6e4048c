import { deepEqual, match, ok } from "@std/assert";
import { readFileSync } from "node:fs";
import { report } from "../../src/cli/doctor.ts";
import { examine } from "../../src/doctor/checks.ts";
import type { Facts } from "../../src/doctor/facts.ts";
import type { NodeFile } from "../../src/doctor/node_files.ts";
import { type Finding, FINDING_IDS } from "../../src/doctor/finding.ts";
import type { VerbsAnswer } from "../../src/hca/types.ts";
import { DEFAULT_SPEC, type ResourceSpec } from "../../src/resource/spec.ts";
import { FakeHost, PRESETS } from "../../sim/mod.ts";
import { golden } from "../support/golden.ts";
import { facts, HEALTHY_KUBELET as kubelet, surveyed } from "../support/surveyed.ts";

const plain = (_style: string, words: string) => words;
const troubles = (findings: readonly Finding[]) =>
  findings.filter((one) => one.severity !== "ok").map((one) => `${one.severity} ${one.id}`);

for (const name of Object.keys(PRESETS)) {
  Deno.test(`doctor on the host ${name}`, async () => {
    // A module that is not loaded is no part of the fake tree's facts here.
    const none = name === "no-modules" ? { modules: [] } : {};
    const text = report(examine(facts(await surveyed(name), none)), plain);
    for (const line of text.split("\n")) ok(line.length <= 80, `${line.length} columns: ${line}`);
    golden(`doctor/${name}.txt`, text);
  });
}

/** A broken host, and exactly the findings that it gives. */
interface Broken {
  readonly what: string;
  readonly finds: readonly string[];
  readonly says: RegExp;
  readonly over?: Partial<Facts>;
  readonly specs?: readonly ResourceSpec[];
  readonly host?: Parameters<typeof surveyed>[0];
  readonly change?: (host: FakeHost) => Promise<void>;
  /** What libibverbs answers, unless it agrees with sysfs. */
  readonly verbs?: VerbsAnswer;
}

const ofVfs: ResourceSpec = { ...DEFAULT_SPEC, select: [{ masters: ["ib0"] }] };
const function0 = {
  resource: DEFAULT_SPEC.name,
  name: "ib0",
  vfs: 0,
  most: 16,
  file: "/sys/class/net/ib0/device/sriov_numvfs",
};
const node = (over: Partial<NodeFile>): Partial<Facts> => ({
  nodes: new Map([["uverbs0", { kind: "character", dev: "231:192", mode: 0o666, ...over }]]),
});
const drivers = ["mlx5.driver"];
const shared: ResourceSpec = { ...DEFAULT_SPEC, mode: { kind: "shared", shares: 2, of: "all" } };
const BROKEN: readonly Broken[] = [
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
    says: /lists mlx5_7, and \/sys does not show it/,
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
    says: /failed \(EIO\)/,
    verbs: { kind: "failed", detail: "EIO" },
  },
  { what: "a directory for a node", finds: ["problem uverbs-node"], says: /rmdir/, over: node({ kind: "directory" }) },
  {
    what: "a file for a node",
    finds: ["problem uverbs-node"],
    says: /no character device/,
    over: node({ kind: "other" }),
  },
  {
    what: "a stale node",
    finds: ["problem uverbs-node"],
    says: /is device 231:200, and sysfs says 231:192/,
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
    says: /pf_range is ignored/,
    over: { configWarnings: ["pf_range is ignored"] },
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
    says: /port 1 is DOWN/,
    change: (host) => host.carrierLost("mlx5_0", 1),
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
    says: /other plugins' sockets here: other.sock.*another one registered the same name/s,
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
];

const known = new Set<string>();
for (const { what, finds, says, over, specs, host, change, verbs } of BROKEN) {
  for (const found of finds) known.add(found.split(" ")[1]!);
  Deno.test(`doctor finds exactly: ${what}`, async () => {
    const findings = examine(facts(await surveyed(host ?? "connectx-ib-dual", specs, change, verbs), over));
    deepEqual(troubles(findings), finds);
    match(report(findings, plain).replace(/\s+/g, " "), new RegExp(says.source.replaceAll("\\s", " "), says.flags));
  });
}

/** What raises no alarm, because nothing is wrong. */
const FINE: readonly (Pick<Broken, "what" | "over" | "host" | "verbs" | "change">)[] = [
  { what: "EFA without a connection manager", host: "aws-efa" },
  { what: "RoCE without umad", host: "intel-irdma", over: { modules: ["ib_core", "ib_uverbs", "rdma_ucm"] } },
  {
    what: "libibverbs that sees no node because /dev is set aside",
    over: { devRoot: "/host/dev" },
    verbs: { kind: "empty" },
  },
  {
    what: "what the sandbox hides from the doctor alone",
    over: {
      hidden: ["libibverbs' provider libraries", "SELinux, inotify (/proc)"],
      providers: "hidden",
      memlock: null,
      inotifyInstances: null,
      kubelet: { ...kubelet, state: "unknown" },
    },
    verbs: { kind: "no-library", detail: "Requires ffi access" },
  },
  { what: "SELinux that refuses nothing", over: { selinux: "system_u:system_r:container_runtime_t:s0" } },
  { what: "the sim's empty files for nodes", over: { ...node({ kind: "other" }), realMachine: false } },
];
for (const { what, over, host, verbs } of FINE) {
  Deno.test(`doctor finds nothing wrong with ${what}`, async () => {
    const findings = examine(facts(await surveyed(host ?? "connectx-ib-dual", undefined, undefined, verbs), over));
    deepEqual(troubles(findings), []);
  });
}

Deno.test("doctor says what the sandbox hid, and claims nothing about it", async () => {
  const over = { hidden: ["libibverbs' provider libraries"], providers: "hidden", memlock: null } as const;
  const findings = examine(facts(await surveyed("connectx-ib-dual"), over));
  match(findings[0]!.what, /not looked at.*provider libraries/);
  deepEqual(findings.filter((one) => ["provider", "memlock"].includes(one.id)), []);
});

Deno.test("an HCA that cannot be read is a warning, not a silence", async () => {
  const survey = await surveyed("connectx-ib-dual");
  const unreadable = [{ name: "mlx5_9", reason: "it vanished" }];
  const findings = examine(facts({ ...survey, snapshot: { ...survey.snapshot, unreadable } }));
  deepEqual(troubles(findings), ["warning hca-unreadable"]);
  known.add("hca-unreadable");
});

Deno.test("docs/troubleshooting.md has one section for every finding, and every finding has its case here", () => {
  const docs = readFileSync(new URL("../../docs/troubleshooting.md", import.meta.url), "utf8");
  const sections = [...docs.matchAll(/^## ([a-z-]+)$/gm)].map((found) => found[1]!);
  deepEqual(sections, [...FINDING_IDS]);
  deepEqual([...known].toSorted(), [...FINDING_IDS].toSorted());
});
