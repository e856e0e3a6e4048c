import { deepEqual, equal, match, rejects } from "@std/assert";
import { DEFAULT_SPEC, type ResourceSpec } from "../../src/pool/spec.ts";
import { FakeKubelet, PRESETS } from "../../sim/mod.ts";
import { onHost } from "../support/plugin.ts";
import { QUICK_HEALTH, seen, world } from "../support/world.ts";

const NAME = DEFAULT_SPEC.name;
const EXCLUSIVE = { ...PRESETS["connectx-roce-vfs"], netnsMode: "exclusive" } as const;

Deno.test("In exclusive mode an HCA in a pod's namespace keeps its place, is not given twice, and comes back", async () => {
  await using one = await world({ host: EXCLUSIVE });
  const { host, kubelet, agent } = one;
  await kubelet.waitFor((state) => state.resources[NAME]?.allocatable === 10, { what: "ten HCAs" });
  await host.moveToPod("mlx5_3");
  await agent.scan("test");
  await host.removeHca("mlx5_4");
  await kubelet.waitFor((state) => state.resources[NAME]?.allocatable === 9, { what: "the removed HCA gone" });
  await kubelet.waitFor((state) => state.resources[NAME]?.capacity === 9, { what: "its grace time over" });
  equal(seen(kubelet).includes("mlx5_3:Healthy"), true);
  await rejects(kubelet.allocate(NAME, [["mlx5_3"]]), /is in the network namespace of a pod that still uses it/);
  await host.returnFromPod("mlx5_3");
  await agent.scan("test");
  equal((await kubelet.allocate(NAME, [["mlx5_3"]]))[0]!.envs?.RDMA_HCAS, "mlx5_3");
});

Deno.test("A plugin that restarts while an HCA is in a pod's namespace still offers it, by the kubelet's checkpoint", async () => {
  await using place = onHost("connectx-roce-vfs");
  await Deno.writeTextFile(`${place.host.sysfsRoot}/module/ib_core/parameters/netns_mode`, "N\n");
  await using kubelet = new FakeKubelet({ dir: place.kubeletDir });
  await kubelet.start();
  const devices = (n: number) => (state: ReturnType<FakeKubelet["state"]>) => state.resources[NAME]?.allocatable === n;
  const first = place.start();
  await kubelet.waitFor(devices(10), { what: "ten HCAs" });
  const pod = await kubelet.admit({ name: "rdma", resource: NAME, count: 1 });
  await first.stop();
  // What moving the HCA into the pod leaves of it in this machine's sysfs: nothing.
  await place.host.removeHca(pod.ids[0]!);
  place.start();
  await kubelet.waitFor(
    (state) => (state.resources[NAME]?.lists ?? 0) >= 2 && state.resources[NAME]?.endpoint !== null,
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
  await one.kubelet.waitFor((state) => state.resources[NAME]?.allocatable === 3, { what: "three shares" });
  match(one.log.join("\n"), /mode is exclusive, and tencent\.com\/rdma shares HCAs.*rdma system set netns shared/);
});

Deno.test("Functions for single pods on a node in shared mode are told, too", async () => {
  const functions: ResourceSpec = { ...DEFAULT_SPEC, health: QUICK_HEALTH, ids: "pci" };
  await using one = await world({ host: "connectx-roce-vfs", specs: [functions] });
  await one.kubelet.waitFor((state) => state.resources[NAME]?.allocatable === 10, { what: "ten functions" });
  match(one.log.join("\n"), /mode is shared, and tencent\.com\/rdma gives functions to single pods/);
});
