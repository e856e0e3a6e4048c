import { deepEqual, equal, match, ok, rejects, throws } from "@std/assert";
import fc from "fast-check";
import { existsSync, readdirSync, readFileSync, readlinkSync, statSync } from "node:fs";
import { join } from "node:path";
import { socketParent } from "../../sim/host/temporary.ts";
import { FakeHost, type HostDescription, manyHcas, preset, type PresetName, PRESETS } from "../../sim/host/host.ts";
import { listVerbs } from "../support/list_verbs.ts";
import { needs } from "../support/need.ts";
import { temporaryDir } from "../support/temp.ts";
import { flaws, readHcas, readNodes } from "../support/host_reader.ts";

function host(what: PresetName | HostDescription): FakeHost {
  return FakeHost.create(FakeHost.temporaryRoot(), typeof what === "string" ? PRESETS[what] : what);
}

function read(of: FakeHost, path: string): string {
  return readFileSync(join(of.sysfsRoot, path), "utf8").trimEnd();
}

function has(of: FakeHost, path: string): boolean {
  return existsSync(join(of.sysfsRoot, path));
}

function events(of: FakeHost): string[] {
  return readFileSync(of.eventsFile, "utf8").split("\n").filter((line) => line !== "");
}

/** The trees say what the host says of itself, and hang together. */
function holdsTogether(of: FakeHost, hiddenInPods: readonly string[] = []): void {
  const now = of.describe();
  deepEqual(
    readHcas(of.sysfsRoot),
    now.map(({ name, nodeGuid, pci, uverbs, umads, issms, ports }) => ({
      name,
      nodeGuid,
      pci,
      uverbs,
      umads,
      issms,
      ports: ports.map((port) => `${port.number} ${port.state} ${port.physState}`),
    })),
  );
  const nodes = now.flatMap((
    hca,
  ) => [...(hca.uverbsNode === null ? [] : [hca.uverbsNode]), ...hca.umads, ...hca.issms]);
  if (of.extras().rdmaCm) nodes.push("rdma_cm");
  const all = [...nodes, ...hiddenInPods].sort();
  deepEqual(readNodes(of.devRoot), all.length === 0 ? null : all);
  deepEqual(flaws(of.sysfsRoot), []);
}

for (const name of Object.keys(PRESETS) as PresetName[]) {
  Deno.test(`FakeHost.create() builds a tree that hangs together when the preset is ${name}`, () => {
    using fake = host(name);
    holdsTogether(fake);
  });
}

Deno.test("preset() names those that exist when there is none of that name", () => {
  throws(() => preset("toString"), /"toString".*connectx-ib-dual.*soft-roce/);
  equal(preset("bond"), PRESETS.bond);
});

Deno.test("FakeHost.create() makes what the kernel makes when an HCA is a PF or a VF", () => {
  using fake = host("connectx-roce-vfs");
  const hca = "class/infiniband/mlx5_0";
  equal(
    readlinkSync(join(fake.sysfsRoot, hca)),
    "../../devices/pci0000:3a/0000:3a:00.0/0000:3b:00.0/infiniband/mlx5_0",
  );
  equal(readlinkSync(join(fake.sysfsRoot, hca, "device")), "../../../0000:3b:00.0");
  equal(read(fake, `${hca}/device/modalias`), "pci:v000015B3d0000101Bsv000015B3sd00000008bc02sc00i00");
  equal(read(fake, `${hca}/device/sriov_numvfs`), "4");
  equal(read(fake, `${hca}/ports/1/gids/15`), "0000:0000:0000:0000:0000:0000:0000:0000");
  equal(read(fake, `${hca}/ports/1/gids/3`), "0000:0000:0000:0000:0000:ffff:c0a8:0001");
  equal(read(fake, `${hca}/ports/1/gid_attrs/types/3`), "RoCE v2");
  equal(read(fake, `${hca}/ports/1/gid_attrs/ndevs/3`), "ens1f0np0");
  equal(has(fake, `${hca}/ports/1/gid_attrs/types/4`), false);
  equal(read(fake, "class/infiniband_verbs/uverbs0/dev"), "231:192");
  const vf = fake.describe().find((one) => one.pf === "mlx5_1" && one.vfIndex === 3);
  deepEqual([vf?.name, vf?.pci, vf?.kind, vf?.numaNode], ["mlx5_9", "0000:af:00.5", "vf", 1]);
  equal(readlinkSync(join(fake.sysfsRoot, "class/infiniband/mlx5_9/device/physfn")), "../0000:af:00.0");
  equal(readlinkSync(join(fake.sysfsRoot, "class/infiniband/mlx5_1/device/virtfn3")), "../0000:af:00.5");
  equal(statSync(join(fake.devRoot, "infiniband/uverbs0")).mode & 0o777, 0o666);
  equal(statSync(join(fake.devRoot, "infiniband/umad0")).mode & 0o777, 0o600);
  ok(existsSync(join(fake.devRoot, "knem")) && has(fake, "class/misc/knem/dev"));
});

Deno.test("FakeHost.create() makes what the kernel makes when an HCA has no PCI function of its own", () => {
  using soft = host("soft-roce");
  equal(has(soft, "class/infiniband/rxe0/device"), false);
  equal(has(soft, "class/infiniband/rxe0/ports/1/counters"), false);
  ok(has(soft, "class/infiniband/rxe0/ports/1/hw_counters"));
  equal(read(soft, "class/infiniband/rxe0/parent"), "eth0");
  using functions = host("sub-functions");
  equal(readlinkSync(join(functions.sysfsRoot, "class/infiniband/mlx5_1/device")), "../../../mlx5_core.sf.2");
  match(
    readlinkSync(join(functions.sysfsRoot, "class/infiniband/mlx5_1/device/subsystem")),
    /\/bus\/auxiliary$/,
  );
  equal(read(functions, "bus/auxiliary/devices/mlx5_core.sf.2/sfnum"), "88");
  using bond = host("bond");
  equal(has(bond, "class/net/bond0/device"), false);
  equal(read(bond, "class/net/bond0/bonding/slaves"), "ens1f0np0 ens1f1np1");
  equal(read(bond, "class/infiniband/mlx5_bond_0/ports/1/gid_attrs/ndevs/0"), "bond0");
  equal(readlinkSync(join(bond.sysfsRoot, "class/net/ens1f1np1/master")).split("/").at(-1), "bond0");
  using bare = host("no-modules");
  equal(has(bare, "class/infiniband"), false);
});

Deno.test("setPort() lets the net device follow when the port goes down and comes back", async () => {
  using fake = host("connectx-roce-vfs");
  const said = () =>
    ["operstate", "flags", "carrier"].map((file) => {
      const path = `class/net/ens1f0np0/${file}`;
      return has(fake, path) ? read(fake, path) : null;
    });
  deepEqual(said(), ["up", "0x1003", "1"]);
  await fake.carrierLost("mlx5_0", 1);
  equal(read(fake, "class/infiniband/mlx5_0/ports/1/phys_state"), "2: Polling");
  deepEqual(said(), ["down", "0x1003", "0"]);
  await fake.portDown("mlx5_0", 1);
  deepEqual(said(), ["down", "0x1002", null]);
  await fake.portUp("mlx5_0", 1);
  deepEqual(said(), ["up", "0x1003", "1"]);
  await fake.portInit("mlx5_0", 1);
  equal(read(fake, "class/infiniband/mlx5_0/ports/1/state"), "2: INIT");
  await rejects(fake.portDown("mlx5_77", 1), /Cannot find mlx5_77.*mlx5_0, mlx5_1/);
  await rejects(fake.portDown("mlx5_0", 2), /port 2 of mlx5_0: it has 1/);
});

Deno.test("setGids() replaces the table when an address changes", async () => {
  using fake = host("soft-roce");
  const gid = "0000:0000:0000:0000:0000:ffff:0a00:0001";
  await fake.setGids("rxe0", 1, [{ index: 5, gid, type: "RoCE v2", netdev: "eth0" }]);
  deepEqual(readdirSync(join(fake.hcaPath("rxe0"), "ports/1/gid_attrs/types")), ["5"]);
  equal(read(fake, "class/infiniband/rxe0/ports/1/gids/5"), gid);
  match(read(fake, "class/infiniband/rxe0/ports/1/gids/0"), /^0000:0000/);
});

Deno.test("removeHca() takes nodes before the HCA, and restoreHca() brings them after it", async () => {
  using fake = host("connectx-ib-dual");
  const seen: string[] = [];
  const between = () => {
    const parts = ["class/infiniband_mad/umad0", "class/infiniband_verbs/uverbs0", "class/infiniband/mlx5_0"];
    seen.push(parts.map((path) => has(fake, path) ? "+" : "-").join(""));
    return Promise.resolve();
  };
  await fake.removeHca("mlx5_0", { between });
  deepEqual(seen.splice(0), ["-++", "--+"]);
  deepEqual(fake.removedHcas(), ["mlx5_0"]);
  equal(has(fake, "bus/pci/devices/0000:3b:00.0/driver"), false);
  await fake.restoreHca("mlx5_0", { between });
  deepEqual(seen, ["---", "--+", "-++"]);
  holdsTogether(fake);
});

Deno.test("removeHca() leaves no /dev/infiniband behind when the last node goes", async () => {
  using fake = host("soft-roce");
  await fake.setRdmaCm(false);
  await fake.removeHca("rxe0");
  equal(readNodes(fake.devRoot), null);
  await fake.restoreHca("rxe0");
  deepEqual(readNodes(fake.devRoot), ["issm0", "umad0", "uverbs0"]);
});

Deno.test("restoreHca() takes the lowest free uverbs number, and renaming keeps it", async () => {
  using fake = host("gpu-rails");
  await fake.removeHca("mlx5_2");
  await fake.removeHca("mlx5_0");
  await fake.restoreHca("mlx5_2");
  equal(fake.describe().find((hca) => hca.name === "mlx5_2")?.uverbs, "uverbs0");
  await fake.restoreHca("mlx5_0", { uverbs: 40 });
  equal(read(fake, "class/infiniband_verbs/uverbs40/dev"), "508:8");
  await fake.renameHca("mlx5_0", "rail0");
  equal(read(fake, "class/infiniband_verbs/uverbs40/ibdev"), "rail0");
  await rejects(fake.renameHca("rail0", "mlx5_1"), /taken/);
  await rejects(fake.renumberUverbs("rail0", 0), /mlx5_2 has it/);
  holdsTogether(fake);
  await fake.swapUverbs("rail0", "mlx5_2");
  equal(read(fake, "class/infiniband_verbs/uverbs0/ibdev"), "rail0");
  holdsTogether(fake);
});

Deno.test("addVfs() gives the next free names, and refuses what the kernel refuses", async () => {
  using fake = host("connectx-roce-vfs");
  await rejects(fake.addVfs("mlx5_0", 2), /EBUSY/);
  await fake.removeVfs("mlx5_0");
  equal(read(fake, "class/infiniband/mlx5_0/device/sriov_numvfs"), "0");
  equal(has(fake, "bus/pci/devices/0000:3b:00.2"), false);
  await rejects(fake.addVfs("mlx5_0", 9), /ERANGE/);
  await rejects(fake.addVfs("mlx5_6", 1), /no SR-IOV/);
  await fake.addVfs("mlx5_0", 8);
  deepEqual(
    fake.describe().filter((hca) => hca.pf === "mlx5_0").map((hca) => `${hca.name} ${hca.uverbs} ${hca.pci}`).slice(
      3,
      5,
    ),
    ["mlx5_5 uverbs5 0000:3b:00.5", "mlx5_10 uverbs10 0000:3b:00.6"],
  );
  holdsTogether(fake);
  await fake.removeHca("mlx5_0");
  equal(fake.hcaNames().length, 5);
  holdsTogether(fake);
});

Deno.test("moveToPod() keeps driver and nodes when the HCA leaves the host's view", async () => {
  using fake = host({ ...PRESETS["connectx-roce-vfs"], netnsMode: "exclusive" });
  equal(read(fake, "module/ib_core/parameters/netns_mode"), "N");
  await fake.moveToPod("mlx5_2");
  equal(fake.hcaNames().includes("mlx5_2"), false);
  ok(has(fake, "bus/pci/devices/0000:3b:00.2/driver"));
  equal(has(fake, "class/net/ens1f0v0"), false);
  holdsTogether(fake, ["uverbs2", "umad2"]);
  await fake.returnFromPod("mlx5_2");
  holdsTogether(fake);
  using shared = host("connectx-roce-vfs");
  await rejects(shared.moveToPod("mlx5_2"), /shared mode/);
});

Deno.test("removeFile() takes a file away, and fix() brings it back", async () => {
  using fake = host("aws-efa");
  const path = "class/infiniband/rdmap16s27/ports/1/state";
  await fake.removeFile(path);
  equal(has(fake, path), false);
  await fake.fix(path);
  equal(read(fake, path), "4: ACTIVE");
  await fake.hideUverbsNode("rdmap16s27");
  equal(readNodes(fake.devRoot), null);
  await fake.showUverbsNode("rdmap16s27");
  await fake.setAttribute("rdmap16s27", "fw_ver", "0.0.1");
  equal(read(fake, "class/infiniband/rdmap16s27/fw_ver"), "0.0.1");
  holdsTogether(fake);
});

Deno.test("events come once for each change, once for a batch, and never when quiet", async () => {
  using fake = host("soft-roce");
  const heard: number[] = [];
  const stop = fake.onEvent((lines) => heard.push(lines.length));
  await fake.removeHca("rxe0");
  await fake.restoreHca("rxe0", { quiet: true });
  await fake.batch(async () => {
    await fake.carrierLost("rxe0", 1);
    await fake.portUp("rxe0", 1);
    equal(events(fake).length, 1);
  });
  await fake.batch(() => fake.portDown("rxe0", 1), { quiet: true });
  stop();
  deepEqual(events(fake), [
    "remove rxe0 uverbs0",
    "change rxe0 port 1 1: DOWN 2: Polling",
    "change rxe0 port 1 4: ACTIVE 5: LinkUp",
  ]);
  deepEqual(heard, [1, 2]);
});

Deno.test("manyHcas() gives every HCA a place of its own", () => {
  const { hcas } = manyHcas(1024);
  equal(new Set(hcas.map((hca) => hca.pci)).size, 1024);
  equal(new Set(hcas.map((hca) => hca.nodeGuid)).size, 1024);
  deepEqual([...new Set(hcas.map((hca) => hca.numaNode))], [0, 1, 2, 3]);
  using fake = host(manyHcas(40));
  holdsTogether(fake);
  throws(() => manyHcas(-1), /-1 HCAs/);
});

Deno.test("restoreHca() takes another name when its own was given away", async () => {
  using fake = host("connectx-roce-vfs");
  await fake.removeHca("mlx5_2");
  await fake.renameHca("mlx5_3", "mlx5_2");
  await fake.restoreHca("mlx5_2");
  holdsTogether(fake);
  equal(fake.describe().find((hca) => hca.pci === "0000:3b:00.2")?.name, "mlx5_3");
});

Deno.test({
  name: "the real libibverbs lists every HCA of every preset when it reads the tree",
  ...needs("root", "unshare", "libibverbs", "no-rdma"),
  fn() {
    for (const [name, description] of Object.entries(PRESETS)) {
      using fake = host(description);
      const listed = listVerbs(fake);
      deepEqual(
        listed.sort((a, b) => a.name.localeCompare(b.name, "en", { numeric: true })),
        fake.describe().map(({ name, nodeGuid, uverbs }) => ({ name, uverbs, guid: nodeGuid })),
        name,
      );
    }
  },
});

/** One random change; what the host refuses is no failure, as a kernel refuses too. */
async function disturb(fake: FakeHost, kind: number, pick: number, step: number): Promise<void> {
  const names = fake.hcaNames();
  const hca = names[pick % Math.max(1, names.length)];
  const gone = fake.removedHcas();
  const inPods = fake.hcasInPods();
  const pf = fake.describe().find((one) => one.kind === "pf")?.name;
  if (kind === 0 && gone.length > 0) return await fake.restoreHca(gone[pick % gone.length] ?? "");
  if (kind === 1 && inPods.length > 0) return await fake.returnFromPod(inPods[pick % inPods.length] ?? "");
  if (hca === undefined) return;
  const other = names[(pick + 1) % names.length] ?? hca;
  if (kind === 2) return await fake.removeHca(hca);
  if (kind === 3) return await fake.moveToPod(hca);
  if (kind === 4) return await fake.renameHca(hca, `renamed_${step}`);
  if (kind === 5 && other !== hca) return await fake.swapUverbs(hca, other);
  if (kind === 6) return await fake.carrierLost(hca, 1);
  if (kind === 7) return await fake.portUp(hca, 1);
  if (kind === 8 && pf !== undefined) return await fake.removeVfs(pf);
  if (kind === 9 && pf !== undefined && fake.describe().every((one) => one.pf !== pf)) {
    return await fake.addVfs(pf, 1 + pick % 4).catch((error) => match(String(error), /EBUSY|no SR-IOV/));
  }
  if (kind === 10) return await fake.hideUverbsNode(hca);
  if (kind === 11) return await fake.showUverbsNode(hca);
}

Deno.test("the trees hang together when changes come in any order", async () => {
  const change = fc.tuple(fc.nat({ max: 11 }), fc.nat({ max: 30 }));
  await fc.assert(
    fc.asyncProperty(fc.array(change, { maxLength: 15 }), async (changes) => {
      using fake = host({ ...PRESETS.mixed, netnsMode: "exclusive" });
      for (const [step, [kind, pick]] of changes.entries()) await disturb(fake, kind, pick, step);
      for (const name of fake.hcasInPods()) await fake.returnFromPod(name);
      holdsTogether(fake);
    }),
    { numRuns: 40 },
  );
});

Deno.test("socketParent() is the temporary directory, /tmp where sockets or a sandbox cannot be below it, or an error that says so", () => {
  const long = `/${"x".repeat(40)}`;
  using writable = temporaryDir();
  equal(socketParent("/somewhere"), "/somewhere");
  equal(socketParent(long, writable.path), writable.path);
  equal(socketParent("/dev/shm", writable.path), writable.path);
  equal(socketParent("/devices"), "/devices");
  throws(() => socketParent(long, "/nowhere"), /TMPDIR/);
});
