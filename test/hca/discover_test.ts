import { deepEqual, equal, match, ok } from "@std/assert";
import { rmSync, symlinkSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { Discovery } from "../../src/hca/discover.ts";
import { natural } from "../../src/text/natural.ts";
import { parseGid, parseGuid, parsePciId, parsePortState, parseRate } from "../../src/hca/parse.ts";
import type { Hca, NetnsMode, Snapshot, VerbsAnswer } from "../../src/hca/types.ts";
import { FakeHost, preset } from "../../sim/mod.ts";
import { memoryDir, within } from "../support/temp.ts";
import { run } from "../support/run.ts";
import { noVerbs } from "../../src/hca/verbs.ts";
import { discoveryOn } from "../support/discovery.ts";

interface Looked extends Disposable {
  readonly host: FakeHost;
  readonly discovery: Discovery;
  /** One that knows nothing yet. */
  another(): Discovery;
  readonly late: Promise<string>;
  hca(name: string): Promise<Hca>;
}

function on(
  name: string,
  options: { verbs?: VerbsAnswer; netns?: Exclude<NetnsMode, "unknown">; deadlineMs?: number } = {},
): Looked {
  const dir = memoryDir();
  const description = { ...preset(name), ...options.netns === undefined ? {} : { netnsMode: options.netns } };
  const host = FakeHost.create(join(dir.path, "host"), description);
  const late = Promise.withResolvers<string>();
  const another = () =>
    discoveryOn(host, {
      ...options.verbs === undefined ? {} : { verbs: noVerbs(options.verbs) },
      netnsMode: () => options.netns ?? "shared",
      onLateAnswer: late.resolve,
      ...options.deadlineMs === undefined ? {} : { deadlineMs: options.deadlineMs },
    });
  const discovery = another();
  return {
    host,
    discovery,
    another,
    late: late.promise,
    async hca(wanted) {
      const found = (await discovery.scan("quick")).hcas.find((one) => one.name === wanted);
      if (found === undefined) throw new Error(`${wanted} was not found`);
      return found;
    },
    [Symbol.dispose]() {
      host.close();
      dir[Symbol.dispose]();
    },
  };
}

/** The facts that operators select by, a line an HCA. */
function lines({ hcas }: Snapshot): string[] {
  return hcas.map((hca) => {
    const ports = hca.ports.map((port) =>
      `${port.number}:${port.state}/${port.physState}/${port.linkLayer}/${port.rateGbps}/${port.umad ?? "-"}/${
        port.issm ?? "-"
      }`
    );
    return [
      hca.name,
      hca.kind,
      hca.transport,
      hca.pci?.address ?? "-",
      `${hca.pci?.vendor}:${hca.pci?.device}`,
      hca.pci?.driver ?? "-",
      `numa ${hca.pci?.numaNode ?? "-"}`,
      hca.uverbs?.name ?? "-",
      hca.netdevs.join("+") || "-",
      ports.join(" "),
    ].join(" | ");
  });
}

for (
  const name of [
    "connectx-ib-dual",
    "connectx-roce-vfs",
    "intel-irdma",
    "broadcom-bnxt",
    "aws-efa",
    "soft-roce",
    "bond",
    "sub-functions",
    "gpu-rails",
  ]
) {
  Deno.test(`Discovery reads the host ${name} as it was described`, async (t) => {
    using looked = on(name);
    const snapshot = await looked.discovery.scan("full");
    deepEqual(snapshot.hcas.map((hca) => hca.name), looked.host.hcaNames().toSorted(natural));
    for (const now of looked.host.describe()) {
      const hca = snapshot.hcas.find((one) => one.name === now.name)!;
      equal(hca.uverbs?.name ?? null, now.uverbs, now.name);
      deepEqual(hca.ports.flatMap((port) => port.umad ?? []), [...now.umads], `umads of ${now.name}`);
      deepEqual(hca.ports.flatMap((port) => port.issm ?? []), [...now.issms], `issms of ${now.name}`);
    }
    await t.step("and as the golden file says", () => {
      const golden = new URL(`../golden/discover/${name}.txt`, import.meta.url);
      const text = `${lines(snapshot).join("\n")}\n`;
      if (Deno.env.get("UPDATE_GOLDEN") === "1") Deno.writeTextFileSync(golden, text);
      equal(text, Deno.readTextFileSync(golden));
    });
  });
}

Deno.test("Discovery knows PF, VF index and the PF's net devices", async () => {
  using looked = on("connectx-roce-vfs");
  const snapshot = await looked.discovery.scan("full");
  const vfs = snapshot.hcas.filter((hca) => hca.kind === "vf");
  deepEqual(vfs.map((vf) => vf.pci!.vfIndex), [0, 1, 2, 3, 0, 1, 2, 3]);
  ok(vfs.every((vf) => vf.pci!.pfNetdevs.length === 1 && vf.pci!.physfn!.endsWith(".0")));
  deepEqual(snapshot.hcas.filter((hca) => hca.kind === "pf").map((pf) => pf.pci!.sriovNumVfs), [4, 4]);
});

Deno.test("Discovery of a host without RDMA is empty, and says why", async () => {
  using none = on("no-modules");
  const snapshot = await none.discovery.scan("full");
  deepEqual(snapshot.hcas, []);
  match(snapshot.notes.join(), /class\/infiniband.*no RDMA driver is loaded/);
  using empty = on("empty");
  match((await empty.discovery.scan("full")).notes.join(), /class\/infiniband in sysfs is empty/);
});

Deno.test("Discovery gives the same object for an unchanged machine, and the same HCAs around a changed one", async () => {
  using looked = on("connectx-roce-vfs");
  const one = await looked.discovery.scan("full");
  equal(await looked.discovery.scan("quick"), one);
  equal(await looked.discovery.scan("full"), one);
  await looked.host.portDown("mlx5_0", 1);
  const two = await looked.discovery.scan("quick");
  deepEqual(two.hcas.map((hca, i) => hca === one.hcas[i]), one.hcas.map((hca) => hca.name !== "mlx5_0"));
  equal(two.hcas[0]!.ports[0]!.state, "DOWN");
});

Deno.test("Discovery asks the physical state of a port that is up in full scans, and of any other in each", async () => {
  using looked = on("connectx-ib-dual");
  const { host } = looked;
  const physState = async (depth: "quick" | "full") =>
    (await looked.discovery.scan(depth)).hcas.find((hca) => hca.name === "mlx5_0")!.ports[0]!.physState;
  equal(await physState("full"), "LinkUp");
  await host.setPort("mlx5_0", 1, "4: ACTIVE", "6: LinkErrorRecovery");
  equal(await physState("quick"), "LinkUp");
  equal(await physState("full"), "LinkErrorRecovery");
  await host.setPort("mlx5_0", 1, "4: ACTIVE", "5: LinkUp");
  equal(await physState("quick"), "LinkUp");
  await host.setPort("mlx5_0", 1, "1: DOWN", "2: Polling");
  equal(await physState("quick"), "Polling");
  await host.setPort("mlx5_0", 1, "1: DOWN", "3: Disabled");
  equal(await physState("quick"), "Disabled");
});

Deno.test("Discovery follows renumbered, renamed, re-created and vanished HCAs in quick scans", async () => {
  using looked = on("connectx-roce-vfs");
  const { host } = looked;
  await looked.discovery.scan("full");
  await host.swapUverbs("mlx5_0", "mlx5_1");
  equal((await looked.hca("mlx5_0")).uverbs!.name, "uverbs1");
  equal((await looked.hca("mlx5_1")).uverbs!.name, "uverbs0");
  await host.renameHca("mlx5_0", "rocep59s0");
  equal((await looked.hca("rocep59s0")).uverbs!.name, "uverbs1");
  await host.removeHca("mlx5_4");
  ok(!(await looked.discovery.scan("quick")).hcas.some((hca) => hca.name === "mlx5_4"));
  await host.restoreHca("mlx5_4", { uverbs: 40 });
  equal((await looked.hca("mlx5_4")).uverbs!.name, "uverbs40");
  await host.hideUverbsNode("mlx5_5");
  equal((await looked.hca("mlx5_5")).uverbs!.present, false);
  match((await looked.hca("mlx5_5")).notes.join(), /is missing in this mount namespace/);
});

Deno.test("Discovery takes no other device for a uverbs node, and sees at once that it was put right", async () => {
  using looked = on("connectx-ib-dual");
  const node = join(looked.host.devRoot, "infiniband/uverbs0");
  // Symbolic links are followed: to a character device with other numbers.
  rmSync(node);
  symlinkSync("/dev/null", node);
  const [hca] = (await looked.discovery.scan("full")).hcas;
  deepEqual([hca!.uverbs!.present, hca!.uverbs!.stale], [false, "device 1:3"]);
  match(hca!.notes.join(), /\/dev\/infiniband\/uverbs0 is device 1:3: remove it/);
  rmSync(node);
  writeFileSync(node, "");
  const { present, stale } = (await looked.hca(hca!.name)).uverbs!;
  deepEqual([present, stale], [true, undefined]);
});

Deno.test("Discovery sees VFs come and go", async () => {
  using looked = on("connectx-roce-vfs");
  const before = (await looked.discovery.scan("full")).hcas.length;
  const pf = "mlx5_0";
  await looked.host.removeVfs(pf);
  equal((await looked.discovery.scan("quick")).hcas.length, before - 4);
  equal((await looked.hca(pf)).pci!.sriovNumVfs, 0);
  await looked.host.addVfs(pf, 2);
  equal((await looked.discovery.scan("quick")).hcas.length, before - 2);
  equal((await looked.hca(pf)).pci!.sriovNumVfs, 2);
});

Deno.test("Discovery counts the links to VFs: reading sriov_numvfs waits until the last of new VFs has its driver", async () => {
  using looked = on("connectx-roce-vfs");
  const file = join(looked.host.hcaPath("mlx5_0"), "device/sriov_numvfs");
  rmSync(file);
  writeFileSync(file, "7\n");
  equal((await looked.discovery.scan("full")).hcas[0]!.pci!.sriovNumVfs, 4);
  equal((await looked.hca("mlx5_0")).pci!.sriovNumVfs, 4);
});

Deno.test("Discovery reads GID tables again in full scans, and net devices with them", async () => {
  using looked = on("connectx-roce-vfs");
  const before = await looked.hca("mlx5_0");
  ok(before.ports[0]!.gids.length > 0);
  const gid = { index: 0, gid: "fe80:0000:0000:0000:0000:0000:0000:0001", type: "RoCE v2", netdev: "bond0" };
  const net = join(looked.host.sysfsRoot, "class/net");
  Deno.mkdirSync(join(looked.host.sysfsRoot, "devices/virtual/net/bond0"), { recursive: true });
  Deno.symlinkSync("../../devices/virtual/net/bond0", join(net, "bond0"));
  await looked.host.setGids("mlx5_0", 1, [gid]);
  equal((await looked.hca("mlx5_0")).ports[0]!.gids.length, before.ports[0]!.gids.length);
  const after = (await looked.discovery.scan("full")).hcas[0]!;
  deepEqual(after.ports[0]!.gids, [gid]);
  deepEqual(after.netdevs, before.netdevs, "a name alone says nothing");
  Deno.symlinkSync("../bond0", join(Deno.realPathSync(join(net, before.netdevs[0]!)), "master"));
  deepEqual((await looked.discovery.scan("full")).hcas[0]!.netdevs, ["bond0", ...before.netdevs]);
});

Deno.test("Discovery takes torn and missing files as values, and an HCA that it knows for what it was", async () => {
  using looked = on("connectx-ib-dual");
  const { host } = looked;
  const before = (await looked.discovery.scan("full")).hcas[0]!;
  const dir = host.hcaPath("mlx5_0");
  for (const file of ["ports/1/state", "node_guid", "fw_ver", "ports/1/rate", "node_type"]) {
    writeFileSync(join(dir, file), "");
  }
  for (const file of ["ports/1/phys_state", "board_id", "ports/2/link_layer"]) rmSync(join(dir, file));
  writeFileSync(join(dir, "hca_type"), new Uint8Array([0, 255, 1, 27, 91, 0x4d, 0x54]));
  const known = (await looked.discovery.scan("full")).hcas[0]!;
  deepEqual([known.nodeType, known.transport, known.nodeGuid], [before.nodeType, before.transport, null]);
  deepEqual(known.ports.map((port) => port.linkLayer), before.ports.map((port) => port.linkLayer));
  equal(known.ports[0]!.state, "unknown");
  const discovery = looked.another();
  const hca = (await discovery.scan("full")).hcas[0]!;
  equal(hca.ports[0]!.state, "unknown");
  deepEqual([hca.nodeGuid, hca.firmware, hca.boardId, hca.ports[0]!.physState, hca.ports[0]!.rate], [
    null,
    null,
    null,
    null,
    null,
  ]);
  equal(hca.nodeType, "unknown");
  equal(hca.hcaType, "[MT");
  equal(hca.ports[1]!.linkLayer, "unknown");
  rmSync(join(dir, "ports"), { recursive: true });
  deepEqual((await discovery.scan("full")).hcas[0]!.ports.map((port) => [port.number, port.state]), [
    [1, "unknown"],
    [2, "unknown"],
  ]);
  deepEqual((await looked.another().scan("full")).hcas[0]!.ports, []);
});

Deno.test("Discovery survives links that dangle and loop, and names that no kernel gives", async () => {
  using looked = on("connectx-ib-dual");
  const dir = join(looked.host.sysfsRoot, "class/infiniband");
  Deno.symlinkSync("../nowhere", join(dir, "dangling"));
  Deno.symlinkSync("loop", join(dir, "loop"));
  Deno.mkdirSync(join(dir, "$(reboot)"));
  Deno.symlinkSync("../../class", join(looked.host.hcaPath("mlx5_0"), "net"));
  const { hcas, unreadable } = await looked.discovery.scan("full");
  deepEqual(hcas.map((hca) => hca.name), ["mlx5_0"]);
  deepEqual(unreadable.map((one) => one.name).toSorted(), ["$(reboot)", "dangling", "loop"]);
});

Deno.test("Discovery never gives an HCA another's net devices because what their device entries lead to has one name", async () => {
  using looked = on("connectx-roce-vfs");
  const before = (await looked.discovery.scan("full")).hcas.map((hca) => [hca.name, hca.netdevs]);
  for (const name of ["mlx5_0", "mlx5_1"]) {
    rmSync(join(looked.host.hcaPath(name), "device"));
    Deno.mkdirSync(join(looked.host.hcaPath(name), "device"));
  }
  for (let i = 0; i < 3; i++) {
    const { hcas } = await looked.discovery.scan("full");
    deepEqual(hcas.map((hca) => [hca.name, hca.netdevs]), before);
  }
});

Deno.test("Discovery waits no longer than its deadline for an HCA whose firmware hangs, and hears when it answers", async () => {
  using looked = on("connectx-roce-vfs", { deadlineMs: 500 });
  await looked.discovery.scan("full");
  // A reader of a FIFO waits in the kernel until somebody writes, as one of a dead adapter's attribute does.
  const state = join(looked.host.hcaPath("mlx5_0"), "ports/1/state");
  rmSync(state);
  run("mkfifo", [state]);
  const hung = await looked.discovery.scan("quick");
  equal(hung.hcas[0]!.ports[0]!.state, "unknown");
  match(hung.hcas[0]!.notes.join(), /did not report its port states within 0\.5 s/);
  equal(hung.hcas[1]!.ports[0]!.state, "ACTIVE");
  const again = await looked.discovery.scan("quick"); // asks the hung one no second time
  equal(again.hcas[0]!.ports[0]!.state, "unknown");
  await Deno.writeTextFile(state, "4: ACTIVE\n");
  equal(await within(looked.late, "the late answer"), "mlx5_0");
  rmSync(state);
  writeFileSync(state, "4: ACTIVE\n");
  equal((await looked.hca("mlx5_0")).ports[0]!.state, "ACTIVE");
});

Deno.test("Discovery names what sysfs and libibverbs do not agree on", async () => {
  const one = { name: "mlx5_0", uverbs: "uverbs0", guid: "0", nodeType: 1 };
  using looked = on("connectx-roce-vfs", {
    verbs: { kind: "list", devices: [one, { ...one, name: "mlx5_99", uverbs: "uverbs99" }] },
  });
  const { hcas, notes } = await looked.discovery.scan("full");
  equal(hcas[0]!.inVerbs, true);
  equal(hcas[1]!.inVerbs, false);
  match(hcas[1]!.notes.join(), /libibverbs here does not list it/);
  match(notes.join(), /libibverbs lists mlx5_99, but sysfs here does not show it/);
});

Deno.test("Discovery keeps an HCA that moved into a pod's network namespace, until its driver goes", async () => {
  using looked = on("connectx-roce-vfs", { netns: "exclusive" });
  await looked.discovery.scan("full");
  await looked.host.moveToPod("mlx5_2");
  const moved = await looked.discovery.scan("quick");
  deepEqual(moved.inPodNetns.map((hca) => hca.name), ["mlx5_2"]);
  await looked.host.returnFromPod("mlx5_2");
  deepEqual((await looked.discovery.scan("quick")).inPodNetns, []);
  await looked.host.moveToPod("mlx5_2");
  await looked.discovery.scan("quick");
  rmSync(join(looked.host.sysfsRoot, "bus/pci/devices/0000:3b:00.2/driver"));
  deepEqual((await looked.discovery.scan("quick")).inPodNetns, []);
});

Deno.test("Discovery takes an HCA that udev renames for no HCA in a pod", async () => {
  using looked = on("connectx-roce-vfs", { netns: "exclusive" });
  const before = await looked.discovery.scan("full");
  await looked.host.moveToPod("mlx5_2");
  await looked.host.renameHca("mlx5_0", "rocep59s0f0");
  const after = await looked.discovery.scan("quick");
  deepEqual(after.inPodNetns.map((hca) => hca.name), ["mlx5_2"]);
  equal(after.hcas.length, before.hcas.length - 1);
  await looked.host.returnFromPod("mlx5_2");
  deepEqual((await looked.discovery.scan("full")).inPodNetns, []);
});

Deno.test("parsers give null for what does not parse", () => {
  for (const bad of [null, "", "x", "4", ": ACTIVE", "99: NEW", "-1: DOWN"]) {
    equal(parsePortState(bad), "unknown", `${bad}`);
  }
  equal(parsePortState("4: ACTIVE"), "ACTIVE");
  equal(parseRate("2.5 Gb/sec (1X SDR)"), 2.5);
  equal(parseRate("fast"), null);
  equal(parseGuid("0000:0000:0000:0000"), null);
  equal(parseGid("fe80:0000:0000:0000:EC0D:9A03:0012:3456"), "fe80:0000:0000:0000:ec0d:9a03:0012:3456");
  equal(parsePciId("0x15B3"), "15b3");
  equal(parsePciId("15b3"), null);
});
