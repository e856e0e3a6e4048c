import { deepEqual, match, ok } from "@std/assert";
import { readFileSync } from "node:fs";
import { report } from "../../src/cli/doctor.ts";
import { examine } from "../../src/doctor/checks.ts";
import { type Finding, FINDING_IDS } from "../../src/doctor/finding.ts";
import { select } from "../../src/pool/select.ts";
import { track } from "../../src/pool/states.ts";
import { PRESETS } from "../../sim/mod.ts";
import { golden } from "../support/golden.ts";
import { after, hca, snapshot, spec } from "../support/hcas.ts";
import { facts, HEALTHY_KUBELET as kubelet, inspected } from "../support/inspected.ts";
import { DEFAULT_SPEC } from "../../src/pool/spec.ts";
import { BROKEN_COUNTERS } from "./broken_counters.ts";
import { BROKEN_DRA } from "./broken_dra.ts";
import { BROKEN, type Broken, node } from "./broken_hosts.ts";
import { BROKEN_REPORTS, reports } from "./broken_reports.ts";

const plain = (_style: string, words: string) => words;
const troubles = (findings: readonly Finding[]) =>
  findings.filter((one) => one.severity === "problem" || one.severity === "warning").map((one) =>
    `${one.severity} ${one.id}`
  );

for (const name of Object.keys(PRESETS)) {
  Deno.test(`doctor on the host ${name}`, async () => {
    // A module that is not loaded is no part of the fake tree's facts here.
    const none = name === "no-modules" ? { modules: [] } : {};
    const text = report(examine(facts(await inspected(name), none)), plain);
    for (const line of text.split("\n")) ok(line.length <= 80, `${line.length} columns: ${line}`);
    golden(`doctor/${name}.txt`, text);
  });
}

const known = new Set<string>();
for (
  const { what, finds, says, over, specs, host, change, verbs } of [
    ...BROKEN,
    ...BROKEN_COUNTERS,
    ...BROKEN_DRA,
    ...BROKEN_REPORTS,
  ]
) {
  for (const found of finds) known.add(found.split(" ")[1]!);
  Deno.test(`doctor finds exactly: ${what}`, async () => {
    const findings = examine(facts(await inspected(host ?? "connectx-ib-dual", specs, change, verbs), over));
    deepEqual(troubles(findings), finds);
    match(report(findings, plain).replace(/\s+/g, " "), new RegExp(says.source.replaceAll("\\s", " "), says.flags));
  });
}

/** What raises no alarm, because nothing is wrong. */
const FINE: readonly (Pick<Broken, "what" | "over" | "host" | "specs" | "verbs">)[] = [
  { what: "EFA without a connection manager", host: "aws-efa" },
  { what: "Node.js where there is no Deno", over: { runtime: "Node.js 20.19.0" } },
  { what: "a Deno that the tests do not run on", over: { runtime: "Deno 99.0.0" } },
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
  { what: "reports that can be written", over: reports({ features: { dir: "/nfd", state: "writable" } }) },
  { what: "SELinux that refuses nothing", over: { selinux: "system_u:system_r:container_runtime_t:s0" } },
  {
    what: "functions for single pods in shared net namespace mode",
    host: "connectx-roce-vfs",
    specs: [{ ...DEFAULT_SPEC, ids: "pci" }],
  },
  { what: "the sim's empty files for nodes", over: { ...node({ kind: "other" }), realMachine: false } },
];
for (const { what, over, host, specs, verbs } of FINE) {
  Deno.test(`doctor finds nothing wrong with ${what}`, async () => {
    const findings = examine(facts(await inspected(host ?? "connectx-ib-dual", specs, undefined, verbs), over));
    deepEqual(troubles(findings), []);
  });
}

Deno.test("doctor says what the sandbox hid, and claims nothing about it", async () => {
  const over = { hidden: ["libibverbs' provider libraries"], providers: "hidden", memlock: null } as const;
  const findings = examine(facts(await inspected("connectx-ib-dual"), over));
  const sandbox = findings.find((one) => one.id === "sandbox");
  match(sandbox?.what ?? "", /not checked.*provider libraries/);
  deepEqual(findings.filter((one) => ["provider", "memlock"].includes(one.id)), []);
  deepEqual(sandbox?.severity, "unchecked");
});

Deno.test("doctor says that libibverbs was not asked where /dev is set aside, and why", async () => {
  const detail = "it looks for nodes in /dev/infiniband, and they are in /host/dev/infiniband";
  const inventory = await inspected("connectx-ib-dual", undefined, undefined, { kind: "not-asked", detail });
  const said = examine(facts(inventory, { devRoot: "/host/dev" })).filter((one) => one.id === "verbs");
  deepEqual(said.map(({ severity, what }) => ({ severity, what })), [
    { severity: "unchecked", what: `libibverbs was not asked: ${detail}; sysfs decides alone` },
  ]);
  deepEqual(inventory.snapshot.notes, []);
  deepEqual(inventory.snapshot.hcas.flatMap((hca) => hca.notes), []);
});

Deno.test("an HCA that cannot be read is a warning, not a silence", async () => {
  const inventory = await inspected("connectx-ib-dual");
  const unreadable = [{ name: "mlx5_9", reason: "it vanished" }];
  const findings = examine(facts({ ...inventory, snapshot: { ...inventory.snapshot, unreadable } }));
  deepEqual(troubles(findings), ["warning hca-unreadable"]);
  known.add("hca-unreadable");
});

Deno.test("docs/troubleshooting.md has one section for every finding, and every finding has its case here", () => {
  const docs = readFileSync(new URL("../../docs/troubleshooting.md", import.meta.url), "utf8");
  const sections = [...docs.matchAll(/^## ([a-z-]+)$/gm)].map((found) => found[1]!);
  deepEqual(sections, [...FINDING_IDS]);
  deepEqual([...known].toSorted(), [...FINDING_IDS].toSorted());
});

Deno.test("an SMI sub-device is named, and raises no alarm", () => {
  const smi = hca(1, { name: "smi1", uverbs: null, subdeviceOf: "mlx5_0", inVerbs: false });
  const inventory = {
    snapshot: snapshot([hca(0), smi]),
    specs: [spec()],
    leftOut: [],
    ownersOf: () => [],
    states: after(new Map(), [spec()], [hca(0), smi], 0).states,
  };
  const findings = examine(facts(inventory));
  deepEqual(troubles(findings), []);
  match(findings.find((one) => one.id === "hcas")!.what, /^1 HCA: mlx5_0; SMI sub-devices.*smi1 of mlx5_0/);
});

Deno.test("a device that a ResourceClaim has is Unhealthy, and raises no alarm", () => {
  const claimed = new Map([["mlx5_0", "claim team/job"]]);
  const pools = select([spec()], snapshot([hca(0)]), new Map(), claimed);
  const { states } = track(new Map(), pools, null, 0);
  deepEqual(states.get(spec().name)?.deviceStates.get("mlx5_0")?.code, "claimed");
  const inventory = { snapshot: snapshot([hca(0)]), specs: [spec()], leftOut: [], ownersOf: () => [], states };
  deepEqual(troubles(examine(facts(inventory))), []);
});
