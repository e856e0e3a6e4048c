import { deepEqual, equal, match, ok } from "@std/assert";
import { readFileSync } from "node:fs";
import { report } from "../../src/cli/doctor.ts";
import { examine } from "../../src/doctor/checks.ts";
import type { Facts } from "../../src/doctor/facts.ts";
import type { Finding } from "../../src/doctor/finding.ts";
import { DEFAULT_SPEC, type ResourceSpec } from "../../src/resource/spec.ts";
import { FakeHost, FakeKubelet, PRESETS } from "../../sim/mod.ts";
import { golden } from "../support/golden.ts";
import { onHost } from "../support/plugin.ts";
import { facts, surveyed } from "../support/surveyed.ts";

const plain = (_style: string, words: string) => words;
const troubles = (findings: readonly Finding[]) =>
  findings.filter((one) => one.severity !== "ok").map((one) => `${one.severity} ${one.id}`);

for (const name of Object.keys(PRESETS)) {
  Deno.test(`doctor on the host ${name}`, async () => {
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
}

const kubelet = { dir: "/var/lib/kubelet/device-plugins", state: "writable", socket: "answers" } as const;
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
    over: { providers: ["libefa-rdmav34.so"] },
  },
  { what: "no libibverbs", finds: ["warning provider"], says: /ibverbs-providers/, over: { providers: null } },
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
    says: /not writable/,
    over: { kubelet: { ...kubelet, state: "read-only" } },
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
    says: /another one registered the same name/,
    over: { takenNames: [DEFAULT_SPEC.name] },
  },
  {
    what: "a long path",
    finds: ["problem socket-path"],
    says: /shorter/,
    over: { longPaths: ["Cannot serve on /x: too long"] },
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
for (const { what, finds, says, over, specs, host, change } of BROKEN) {
  for (const found of finds) known.add(found.split(" ")[1]!);
  Deno.test(`doctor finds exactly: ${what}`, async () => {
    const findings = examine(facts(await surveyed(host ?? "connectx-ib-dual", specs, change), over));
    deepEqual(troubles(findings), finds);
    match(report(findings, plain).replace(/\s+/g, " "), new RegExp(says.source.replaceAll("\\s", " "), says.flags));
  });
}

Deno.test("docs/troubleshooting.md has a section for every finding", () => {
  const docs = readFileSync(new URL("../../docs/troubleshooting.md", import.meta.url), "utf8");
  for (const id of [...known, "hca-unreadable"]) ok(docs.includes(`\n## ${id}\n`), `no section ## ${id}`);
});

Deno.test("doctor as a process ends with 1 while the kubelet is down and with 0 when it is up, and changes nothing", async () => {
  await using place = onHost("connectx-ib-dual");
  const down = place.ask("doctor");
  equal((await down.ended).code, 1, down.log.join("\n"));
  match(down.log.join("\n"), /PROBLEM {2}.*kubelet\.sock does not exist/);
  await using kubelet = new FakeKubelet({ dir: place.kubeletDir });
  await kubelet.start();
  const up = place.ask("doctor", "--json");
  equal((await up.ended).code, 0, up.log.join("\n"));
  const findings = JSON.parse(up.log.join("")) as Finding[];
  ok(findings.some((one) => one.id === "kubelet-down" && one.severity === "ok"));
  equal(kubelet.history.filter((event) => event.kind === "register").length, 0);
  equal((await place.ask("doctor", "--watch").ended).code, 2);
});
