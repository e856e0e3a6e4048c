import { deepEqual, equal, match, rejects } from "@std/assert";
import { existsSync, readdirSync, readFileSync, rmSync, utimesSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { Agent } from "../../src/agent/agent.ts";
import { CdiSpecs } from "../../src/agent/cdi.ts";
import type { CdiSpec } from "../../src/pool/cdi.ts";
import { DEFAULT_SPEC, type ResourceSpec } from "../../src/pool/spec.ts";
import { SILENT } from "../../src/text/log.ts";
import { temporaryDir } from "../support/temp.ts";
import { agentOptions, QUICK_HEALTH, type World, world } from "../support/world.ts";

const NAME = DEFAULT_SPEC.name;
const FILE = "rdma-device-plugin_tencent.com_rdma.json";
const CDI: ResourceSpec = { ...DEFAULT_SPEC, health: QUICK_HEALTH, cdi: true };

/** A host that has every path, and no HCA. */
const HOST = { rdmaCm: true, knem: false, has: () => true, ownersOf: () => [] };

const files = (one: World) => existsSync(join(one.dir, "cdi")) ? readdirSync(join(one.dir, "cdi")).sort() : [];
const specOf = (one: World) => JSON.parse(readFileSync(join(one.dir, "cdi", FILE), "utf8")) as CdiSpec;
const deviceNames = (one: World) => specOf(one).devices.map((device) => device.name);

/** A node with RoCE PFs and VFs whose resource answers with CDI names. */
async function withCdi(spec: ResourceSpec = CDI): Promise<World> {
  const one = await world({ host: "connectx-roce-vfs", specs: [spec] });
  await one.kubelet.waitFor((state) => (state.resources[NAME]?.allocatable ?? 0) > 0, { what: "devices" });
  return one;
}

/** Another plugin on the same node, which knows nothing but what is on disk. */
async function successor(one: World, specs: readonly ResourceSpec[], log: string[] = []): Promise<Agent> {
  return await Agent.start({
    ...agentOptions(one.dir, { sysfs: one.host.sysfsRoot, dev: one.host.devRoot }, log),
    specs,
    sources: [],
  });
}

Deno.test(
  "a CDI spec outlives the plugin while a container holds a device of it, and goes with the next start after",
  async () => {
    await using one = await withCdi();
    await one.kubelet.admit({ name: "a", resource: NAME, count: 1 });
    await one.agent.close();
    deepEqual(files(one), [FILE]);
    match(one.log.join("\n"), /tencent\.com_rdma\.json is kept: containers hold devices of tencent\.com\/rdma/);

    const other = { ...CDI, name: "rdma/other", cdi: false };
    const log: string[] = [];
    const second = await successor(one, [other], log);
    deepEqual(files(one), [FILE], "also when the next plugin does not have the resource");
    match(log.join("\n"), /earlier plugin is kept: containers hold its devices/);
    one.kubelet.release("a");
    await second.scan("test");
    deepEqual(files(one), [], "and it goes when the pod has gone");
    await second.close();
  },
);

Deno.test("a CDI spec stays while the kubelet may not have recorded the answer that names it", async () => {
  await using one = await withCdi();
  const [name] = deviceNames(one);
  // Without an admission: the kubelet writes its checkpoint when the whole container has its devices.
  await one.kubelet.allocate(NAME, [[name!]]);
  await one.agent.close();
  deepEqual(files(one), [FILE]);
  match(one.log.join("\n"), /is kept: containers hold devices of tencent\.com\/rdma/);
  const second = await successor(one, [{ ...CDI, name: "rdma/other", cdi: false }]);
  deepEqual(files(one), [], "the next plugin goes by the checkpoint");
  await second.close();
});

Deno.test("an answer counts as held for as long as the kubelet may need to record it", () => {
  using dir = temporaryDir();
  let now = 0;
  const specs = new CdiSpecs(join(dir.path, "cdi"), dir.path, SILENT, () => now);
  const ends = (after: number): boolean => {
    equal(specs.write({ spec: CDI, deviceStates: new Map() }, HOST, "/socket", []), null);
    specs.answered(NAME, ["mlx5_0"]);
    now += after;
    specs.end(NAME);
    return readdirSync(join(dir.path, "cdi")).length === 0;
  };
  equal(ends(29_000), false);
  equal(ends(31_000), true);
});

Deno.test("a CDI spec that somebody deletes or overwrites is written again by the next scan", async () => {
  await using one = await withCdi();
  const before = specOf(one);
  rmSync(join(one.dir, "cdi"), { recursive: true });
  await one.agent.scan("test");
  deepEqual(specOf(one), before);
  writeFileSync(join(one.dir, "cdi", FILE), "{}");
  await one.agent.scan("test");
  deepEqual(specOf(one), before);
  utimesSync(join(one.dir, "cdi", FILE), 0, 0);
  await one.agent.scan("test");
  deepEqual(specOf(one), before);
});

Deno.test("Allocate names nothing before the spec is on disk again", async () => {
  await using one = await withCdi();
  await one.kubelet.allocate(NAME, [["mlx5_0"]]);
  rmSync(join(one.dir, "cdi", FILE));
  await one.kubelet.allocate(NAME, [["mlx5_0"]]);
  equal(deviceNames(one).includes("mlx5_0"), true);
  rmSync(join(one.dir, "cdi"), { recursive: true });
  writeFileSync(join(one.dir, "cdi"), "in the way");
  await rejects(one.kubelet.allocate(NAME, [["mlx5_0"]]), /Cannot write the CDI spec/);
});

Deno.test("an optional device is in the spec from the moment when the host has it", async () => {
  const late = { hostPath: "/dev/late", containerPath: "/dev/late", permissions: "rw", optional: true };
  await using one = await withCdi({ ...CDI, expose: { ...CDI.expose, devices: [late] } });
  const common = () => specOf(one).containerEdits.deviceNodes?.map((node) => node.path);
  await one.kubelet.allocate(NAME, [["mlx5_0"]]);
  const before = common()!;
  writeFileSync(join(one.host.devRoot, "late"), "");
  await one.kubelet.allocate(NAME, [["mlx5_0"]]);
  deepEqual(common(), [...before, "/dev/late"]);
});

Deno.test(
  "what a container holds stays in the spec although the resource does not select it any more",
  async () => {
    await using one = await withCdi({ ...CDI, select: [{ hcas: ["mlx5_1"] }] });
    await one.kubelet.admit({ name: "a", resource: NAME, count: 1 });
    const narrow = { ...CDI, select: [{ hcas: ["mlx5_0"] }] };
    await one.agent.reconfigure([narrow]);
    deepEqual(deviceNames(one), ["mlx5_0", "mlx5_1"]);
    await one.host.renumberUverbs("mlx5_1", 77);
    await one.agent.scan("test");
    match(JSON.stringify(specOf(one).devices[1]), /uverbs77/, "it follows its HCA");
    await one.agent.close();
    const second = await successor(one, [narrow]);
    deepEqual(deviceNames(one), ["mlx5_0", "mlx5_1"], "also over a restart");
    one.kubelet.release("a");
    await second.reconfigure([{ ...narrow, prefer: "spread" }]);
    deepEqual(deviceNames(one), ["mlx5_0"]);
    await second.close();
  },
);

Deno.test("an entry whose node has become another HCA's does not stay, held or not", async () => {
  await using one = await withCdi({ ...CDI, select: [{ hcas: ["mlx5_9"] }] });
  await one.kubelet.admit({ name: "a", resource: NAME, count: 1 });
  const held = specOf(one).devices.find((device) => device.name === "mlx5_9")!;
  const number = Number(held.containerEdits.deviceNodes![0]!.path.match(/\d+$/)![0]);
  await one.agent.reconfigure([{ ...CDI, select: [{ hcas: ["mlx5_0"] }] }]);
  deepEqual(deviceNames(one), ["mlx5_0", "mlx5_9"]);
  await one.host.removeHca("mlx5_9");
  await one.host.renumberUverbs("mlx5_1", number);
  await one.agent.scan("test");
  deepEqual(deviceNames(one), ["mlx5_0"]);
});

Deno.test("a plugin that ends leaves the spec that its successor has written", async () => {
  await using one = await withCdi();
  const second = await successor(one, [CDI]);
  await one.agent.close();
  deepEqual(files(one), [FILE]);
  await second.close();
  deepEqual(files(one), []);
});

Deno.test("a checkpoint that cannot be read counts as if containers held devices", async () => {
  await using one = await withCdi();
  const checkpoint = join(one.dir, "kubelet/device-plugins/kubelet_internal_checkpoint");
  await one.kubelet.stop();
  writeFileSync(checkpoint, '{"Data":');
  await one.agent.close();
  deepEqual(files(one), [FILE]);
  rmSync(checkpoint);
  const second = await successor(one, [{ ...CDI, name: "rdma/other", cdi: false }]);
  deepEqual(files(one), []);
  await second.close();
});
