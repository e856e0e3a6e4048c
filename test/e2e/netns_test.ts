import { deepEqual, equal, match, rejects } from "@std/assert";
import { DEFAULT_SPEC, type ResourceSpec } from "../../src/pool/spec.ts";
import { PRESETS } from "../../sim/mod.ts";
import { fakeKubelet, offered, RESOURCE } from "../support/kubelet.ts";
import { onHost } from "../support/plugin.ts";
import { QUICK_HEALTH, seen, world } from "../support/world.ts";

const EXCLUSIVE = { ...PRESETS["connectx-roce-vfs"], netnsMode: "exclusive" } as const;

Deno.test("In exclusive mode an HCA in a pod's namespace keeps its place, is not given twice, and comes back", async () => {
  await using one = await world({ host: EXCLUSIVE });
  const { host, kubelet, agent } = one;
  await offered(kubelet, 10);
  const { ids: [id] } = await kubelet.admit({ name: "rdma", resource: RESOURCE, count: 1 });
  await host.moveToPod(id!);
  await agent.scan("test");
  const other = id === "mlx5_4" ? "mlx5_5" : "mlx5_4";
  await host.removeHca(other);
  await offered(kubelet, 9);
  await kubelet.waitFor((state) => state.resources[RESOURCE]?.capacity === 9, { what: "its grace time over" });
  equal(seen(kubelet).includes(`${id}:Healthy`), true);
  await rejects(kubelet.allocate(RESOURCE, [[id!]]), /is in the network namespace of a pod that still uses it/);
  await host.returnFromPod(id!);
  await agent.scan("test");
  equal((await kubelet.allocate(RESOURCE, [[id!]]))[0]!.envs?.RDMA_HCAS, id);
});

Deno.test("In exclusive mode an HCA that someone else has moved away is no device that pods can get", async () => {
  await using one = await world({ host: EXCLUSIVE });
  const { host, kubelet, agent } = one;
  await offered(kubelet, 10);
  await kubelet.admit({ name: "rdma", resource: RESOURCE, count: 1 });
  const free = one.host.hcaNames().find((name) => !kubelet.state().allocations.some(({ ids }) => ids.includes(name)))!;
  await host.moveToPod(free);
  await agent.scan("test");
  await offered(kubelet, 9);
  equal(seen(kubelet).includes(`${free}:Unhealthy`), true);
  await host.returnFromPod(free);
  await offered(kubelet, 10);
});

Deno.test("A plugin that restarts while an HCA is in a pod's namespace still offers it, by the kubelet's checkpoint", async () => {
  await using place = onHost("connectx-roce-vfs");
  await Deno.writeTextFile(`${place.host.sysfsRoot}/module/ib_core/parameters/netns_mode`, "N\n");
  await using kubelet = await fakeKubelet(place.kubeletDir);

  const first = place.start();
  await offered(kubelet, 10);
  const pod = await kubelet.admit({ name: "rdma", resource: RESOURCE, count: 1 });
  await first.stop();
  // What moving the HCA into the pod leaves of it in this machine's sysfs: nothing.
  await place.host.removeHca(pod.ids[0]!);
  place.start();
  await kubelet.waitFor(
    (state) => (state.resources[RESOURCE]?.lists ?? 0) >= 2 && state.resources[RESOURCE]?.endpoint !== null,
    {
      what: "a list of the second plugin",
    },
  );
  deepEqual(seen(kubelet).filter((device) => device.startsWith(`${pod.ids[0]}:`)), [`${pod.ids[0]}:Healthy`]);
});

Deno.test("A mode that does not fit a resource is told at the start", async () => {
  const shared: ResourceSpec = {
    ...DEFAULT_SPEC,
    health: QUICK_HEALTH,
    mode: { kind: "shared", shares: 3, of: "all" },
  };
  await using one = await world({ host: EXCLUSIVE, specs: [shared] });
  await offered(one.kubelet, 3);
  match(one.log.join("\n"), /mode is exclusive, and tencent\.com\/rdma shares HCAs.*rdma system set netns shared/);
});

Deno.test("Functions for single pods on a node in shared mode are told, too", async () => {
  const functions: ResourceSpec = { ...DEFAULT_SPEC, health: QUICK_HEALTH, ids: "pci" };
  await using one = await world({ host: "connectx-roce-vfs", specs: [functions] });
  await offered(one.kubelet, 10);
  match(one.log.join("\n"), /mode is shared, and tencent\.com\/rdma gives functions to single pods/);
});
