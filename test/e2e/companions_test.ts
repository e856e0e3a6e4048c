import { deepEqual, match, rejects } from "@std/assert";
import { rmSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { parseConfig } from "../../src/config/mod.ts";
import { DEFAULT_SPEC, type ResourceSpec } from "../../src/pool/spec.ts";
import { addHfis, addNode, OMNI_PATH, removeNode } from "../support/class_nodes.ts";
import { QUICK_HEALTH, seen, type World, world } from "../support/world.ts";

const NAME = DEFAULT_SPEC.name;

function spec(expose: Partial<ResourceSpec["expose"]>, over: Partial<ResourceSpec> = {}): ResourceSpec {
  return { ...DEFAULT_SPEC, health: QUICK_HEALTH, ...over, expose: { ...DEFAULT_SPEC.expose, ...expose } };
}

/** `expose.devices` as a file has them. */
function devices(text: string): ResourceSpec["expose"]["devices"] {
  const result = parseConfig(`resources: [{name: rdma/a, expose: {devices: ${text}}}]`, "c.yaml");
  if (!result.ok) throw new Error(result.mistakes.map((one) => one.message).join("; "));
  return result.config.resources[0]!.expose.devices;
}

/** Nodes outside /dev/infiniband that a container with this device gets. */
async function extras(one: World, id: string, name = NAME): Promise<readonly string[]> {
  const [answer] = await one.kubelet.allocate(name, [[id]]);
  return answer!.devices!.map((node) => `${node.host_path}`).filter((path) => !path.startsWith("/dev/infiniband/"));
}

/** Omni-Path with its class devices; the first scan may have been before them. */
async function omniPath(specs: readonly ResourceSpec[]): Promise<World> {
  const one = await world({ host: OMNI_PATH, specs });
  addHfis(one.host);
  await one.agent.scan("test");
  return one;
}

const settled = (one: World, want: readonly string[], name = NAME) =>
  one.kubelet.waitFor(() => String(seen(one.kubelet, name)) === String(want), { what: want.join(" ") });

Deno.test("each HCA's container gets that HCA's own companion, and none with companions: false", async () => {
  await using one = await omniPath([spec({})]);
  await settled(one, ["hfi1_0:Healthy", "hfi1_1:Healthy"]);
  deepEqual(await extras(one, "hfi1_0"), ["/dev/hfi1_1"]);
  deepEqual(await extras(one, "hfi1_1"), ["/dev/hfi1_0"]);
  await one.agent.reconfigure([spec({ companions: false })]);
  deepEqual(await extras(one, "hfi1_0"), []);
});

Deno.test("a shared pool's container gets the companions of all its HCAs, and leaves out an HCA without", async () => {
  const shared = spec({}, { mode: { kind: "shared", shares: 2, of: "all" } });
  await using one = await omniPath([shared]);
  await settled(one, ["0:Healthy", "1:Healthy"]);
  deepEqual(await extras(one, "0"), ["/dev/hfi1_1", "/dev/hfi1_0"]);
  removeNode(one.host, "hfi1_1");
  deepEqual(await extras(one, "0"), ["/dev/hfi1_0"], "also before any scan saw it");
});

Deno.test("a device whose companion is missing is Unhealthy with the reason, refused, and comes back", async () => {
  await using one = await omniPath([spec({})]);
  await settled(one, ["hfi1_0:Healthy", "hfi1_1:Healthy"]);
  deepEqual(await extras(one, "hfi1_0"), ["/dev/hfi1_1"]);
  removeNode(one.host, "hfi1_1");
  await rejects(one.kubelet.allocate(NAME, [["hfi1_0"]]), /\/dev\/hfi1_1 does not exist, though sysfs has its device/);
  await settled(one, ["hfi1_0:Unhealthy", "hfi1_1:Healthy"]);
  match(one.log.join("\n"), /hfi1_0: Healthy → Unhealthy: \/dev\/hfi1_1 does not exist/);
  addNode(one.host, "hfi1_1");
  await one.agent.scan("test");
  await settled(one, ["hfi1_0:Healthy", "hfi1_1:Healthy"]);
  deepEqual(await extras(one, "hfi1_0"), ["/dev/hfi1_1"]);
});

Deno.test("a companion that now belongs to the other HCA is not handed out from memory", async () => {
  await using one = await omniPath([spec({})]);
  await settled(one, ["hfi1_0:Healthy", "hfi1_1:Healthy"]);
  deepEqual(await extras(one, "hfi1_0"), ["/dev/hfi1_1"]);
  const entry = join(one.host.sysfsRoot, "bus/pci/devices/0000:3d:00.0/hfi1_user/hfi1_1");
  rmSync(entry, { recursive: true });
  await one.agent.scan("test");
  deepEqual(await extras(one, "hfi1_0"), []);
});

Deno.test("a device that the host lacks makes the resource Unhealthy; a path of one HCA is not given to another", async () => {
  const lacks = spec({ companions: false, devices: devices("[/dev/hfi1_7]") });
  const own = spec({ companions: false, devices: devices("[/dev/hfi1_0, /dev/hfi1_1]") }, { name: "rdma/own" });
  await using one = await omniPath([lacks]);
  await settled(one, ["hfi1_0:Unhealthy", "hfi1_1:Unhealthy"]);
  await rejects(
    one.kubelet.allocate(NAME, [["hfi1_0"]]),
    /\/dev\/hfi1_7, which expose.devices asks for, does not exist/,
  );
  await one.agent.reconfigure([own]);
  await settled(one, ["hfi1_0:Healthy", "hfi1_1:Healthy"], "rdma/own");
  deepEqual(await extras(one, "hfi1_0", "rdma/own"), ["/dev/hfi1_1"], "sysfs decides whose it is, not the name");
  deepEqual(await extras(one, "hfi1_1", "rdma/own"), ["/dev/hfi1_0"]);
});

Deno.test("templates name a device of each HCA", async () => {
  const templates = spec({ companions: false, devices: devices(`["/dev/x/{hca}", "/dev/{class:hfi1_user}"]`) });
  await using one = await omniPath([templates]);
  await settled(one, ["hfi1_0:Unhealthy", "hfi1_1:Unhealthy"]);
  addNode(one.host, "x/hfi1_0");
  await one.agent.scan("test");
  await settled(one, ["hfi1_0:Healthy", "hfi1_1:Unhealthy"]);
  deepEqual(await extras(one, "hfi1_0"), ["/dev/x/hfi1_0", "/dev/hfi1_1"]);
});

Deno.test("an optional device is given from the moment when the host has it, and no longer", async () => {
  const optional = spec({ devices: devices("[{hostPath: /dev/late, optional: true}]") });
  await using one = await world({ host: "connectx-ib-dual", specs: [optional] });
  await settled(one, ["mlx5_0:Healthy"]);
  deepEqual(await extras(one, "mlx5_0"), []);
  writeFileSync(join(one.host.devRoot, "late"), "");
  deepEqual(await extras(one, "mlx5_0"), ["/dev/late"]);
  rmSync(join(one.host.devRoot, "late"));
  deepEqual(await extras(one, "mlx5_0"), []);
});
