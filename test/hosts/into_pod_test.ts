/**
 * Host 30: a CNI plugin moves net devices of PFs into pods while the RDMA devices stay shared. HCA, function and uverbs
 * node are all still there, so no pool may lose a device: the kubelet would take the free ones for those in use.
 *
 * @module
 */
import { deepEqual, equal, match, ok } from "@std/assert";
import { existsSync, mkdirSync, readFileSync, rmSync, symlinkSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import type { HostPlan } from "./build.ts";
import { leavesForPod, upInPod } from "./into_pod.ts";
import { kubeletCounts, listCounts, type Node, node } from "./node.ts";

const FILE = "rdma-netdevs.json";

/** Everything the kubelet was sent since it started. */
function lists(one: Node, resource: string): string[] {
  return one.kubelet.history.flatMap((event) =>
    event.kind === "list" && event.resource === resource ? [JSON.stringify(event)] : []
  );
}

for (
  const [config, resource, count] of [
    ["30/sriov.json", "nvidia.com/hostdev", "4/4"],
    ["30/vendors.json", "nvidia.com/hostdev", "4/4"],
    [undefined, "tencent.com/rdma", "4/4"],
    ["30/shared.json", "rdma/a", "4/4"],
  ] as const
) {
  Deno.test(
    `net devices of PFs in pods take nothing out of a pool: ${config ?? "no configuration"}`,
    async () => {
      await using one = await node({ host: "30/host.json", config });
      const settled = async (what: string) => {
        await one.kubelet.waitFor(
          (state) => state.resources[resource]?.endpoint && kubeletCounts(one.kubelet)[resource] === count,
          {
            what,
          },
        );
        deepEqual(listCounts(await one.list()), { [resource]: count }, what);
      };
      await settled("at first");
      const before = lists(one, resource).length;
      for (const hca of ["mlx5_0", "mlx5_1"]) {
        leavesForPod(one.host.sysfs, hca);
        await one.agent.scan("test");
        equal(kubeletCounts(one.kubelet)[resource], count);
        deepEqual(listCounts(await one.list()), { [resource]: count });
      }
      equal(lists(one, resource).length, before, "the kubelet is sent nothing");
      await one.restart();
      await settled("after a restart, while the links are down");
      for (const hca of ["mlx5_0", "mlx5_1"]) upInPod(one.host.sysfs, hca);
      await one.agent.scan("test");
      await settled("with the links up in the pods");
      await one.restart();
      await settled("after another restart");
      const json = await one.list();
      const hca = json.hcas[0]!;
      ok(hca.ports[0]!.netdevAway);
      deepEqual(hca.netdevs, ["enp26s0np0"], "the name seen last, and not the pod's");
    },
  );
}

Deno.test("the last net device of a machine may be in a pod, too", async () => {
  const hcas: HostPlan["hcas"] = [{
    name: "mlx5_0",
    pci: "0000:1a:00.0",
    driver: "mlx5_core",
    netdevs: [{ name: "eth2" }],
  }];
  await using one = await node({ host: { hcas } });
  const whole = () => kubeletCounts(one.kubelet)["tencent.com/rdma"] === "1/1";
  await one.kubelet.waitFor(whole, { what: "the PF" });
  leavesForPod(one.host.sysfs, "mlx5_0");
  await one.agent.scan("test");
  ok(whole());
  deepEqual(listCounts(await one.list()), { "tencent.com/rdma": "1/1" });
});

Deno.test("the kubelet's checkpoint alone keeps members whose net devices have no name here", async () => {
  await using one = await node({ host: "30/host.json", config: "30/sriov.json" });
  const has = (n: number) => () => kubeletCounts(one.kubelet)["nvidia.com/hostdev"] === `${n}/${n}`;
  await one.kubelet.waitFor(has(4), { what: "four PFs" });
  await one.kubelet.admit({ name: "a", resource: "nvidia.com/hostdev", count: 2 });
  const held = one.kubelet.state().allocations.flatMap((allocation) => allocation.ids);
  await one.agent.close();
  for (const id of held) leavesForPod(one.host.sysfs, `mlx5_${Number.parseInt(id.slice(5, 7), 16) - 0x1a}`);
  ok(!existsSync(join(one.kubeletDir, FILE)), "nothing was away while the plugin ran");
  await one.restart();
  await one.kubelet.waitFor(has(4), { what: "four PFs, two of them by the checkpoint" });
});

Deno.test(
  "what is remembered of net devices is written while one is away, and again when a kubelet has emptied its directory",
  async () => {
    await using one = await node({ host: "30/host.json", config: "30/shared.json" });
    const path = join(one.kubeletDir, FILE);
    ok(!existsSync(path));
    leavesForPod(one.host.sysfs, "mlx5_0");
    await one.agent.scan("test");
    deepEqual(JSON.parse(readFileSync(path, "utf8")).away, { "0000:1a:00.0": [{ name: "enp26s0np0", devPort: 0 }] });
    await one.kubelet.restart();
    await one.kubelet.waitFor(() => kubeletCounts(one.kubelet)["rdma/a"] === "4/4", {
      what: "the shared devices again",
    });
    ok(existsSync(path), "the new kubelet removed it, and the plugin wrote it again");
    comesBack(one, "enp26s0np0");
    await one.agent.scan("test");
    ok(!existsSync(path), "nothing is away any more");
  },
);

Deno.test(
  "a member leaves when a fact says otherwise: the net device came back under another name",
  async () => {
    await using one = await node({ host: "30/host.json", config: "30/sriov.json" });
    await one.kubelet.waitFor(() => kubeletCounts(one.kubelet)["nvidia.com/hostdev"] === "4/4", { what: "four PFs" });
    leavesForPod(one.host.sysfs, "mlx5_0");
    await one.agent.scan("test");
    comesBack(one, "eth7");
    await one.agent.scan("test");
    const json = await one.list();
    match(json.hcas[0]!.leftOut[0]!.reason, /its own names are eth7/);
    equal(json.resources[0]!.devices.length, 3);
    await one.kubelet.waitFor(() => kubeletCounts(one.kubelet)["nvidia.com/hostdev"] === "4/3", {
      what: "three of four",
    });
  },
);

Deno.test("a name that another function has now is no longer the name of what is away", async () => {
  await using one = await node({ host: "30/host.json", config: "30/shared.json" });
  await one.kubelet.waitFor(() => kubeletCounts(one.kubelet)["rdma/a"] === "4/4", { what: "the pool" });
  leavesForPod(one.host.sysfs, "mlx5_0");
  await one.agent.scan("test");
  const { sysfs } = one.host;
  leavesForPod(sysfs, "mlx5_1");
  comesBack(one, "enp26s0np0", "mlx5_1");
  upInPod(sysfs, "mlx5_1", "enp26s0np0");
  await one.agent.scan("test");
  const members = one.agent.state.inventory!.states.get("rdma/a")!.deviceStates;
  equal(members.get("mlx5_1")!.healthy, true);
  deepEqual((await one.list()).hcas.filter((hca) => hca.netdevs.includes("enp26s0np0")).map((hca) => hca.name), [
    "mlx5_1",
  ]);
});

Deno.test(
  "a restart does not lose what another process wrote, and takes no nonsense from the file",
  async () => {
    await using one = await node({ host: "30/host.json", config: "30/shared.json" });
    await one.kubelet.waitFor(() => kubeletCounts(one.kubelet)["rdma/a"] === "4/4", { what: "the pool" });
    await one.agent.close();
    leavesForPod(one.host.sysfs, "mlx5_0");
    for (
      const text of [
        "",
        "{",
        "null",
        "[1]",
        '{"version":1,"away":{"0000:1a:00.0":[{"name":"../x","devPort":0},7]}}',
        '{"version":1,"away":[]}',
      ]
    ) {
      writeFileSync(join(one.kubeletDir, FILE), text);
      deepEqual((await one.list()).hcas[0]!.netdevs, [], text);
    }
    writeFileSync(
      join(one.kubeletDir, FILE),
      '{"version":1,"away":{"0000:1a:00.0":[{"name":"enp26s0np0","devPort":0}]}}',
    );
    await one.restart();
    await one.kubelet.waitFor(() => kubeletCounts(one.kubelet)["rdma/a"] === "4/4", { what: "the pool" });
  },
);

Deno.test(
  "a bond, a VLAN and a bridge go on to count while the GID table is empty, and leave with their links",
  async () => {
    const names = ["ens1f0", "bond0", "bond0.7"];
    const netdevs = [{ name: "ens1f0", master: "bond0" }];
    const gids = names.map((ndev, i) => ({
      gid: `fe80:0000:0000:0000:0000:0000:0000:000${i + 1}`,
      type: "RoCE v2",
      ndev,
    }));
    const plan: HostPlan = {
      virtual_netdevs: [{ name: "bond0" }, { name: "bond0.7", lower: ["bond0"] }],
      hcas: [{ name: "mlx5_0", pci: "0000:3b:00.0", driver: "mlx5_core", netdevs, ports: [{ gids }] }],
    };
    const config = JSON.stringify({
      configList: [{ resourceName: "vlan", rdmaHcaMax: 2, selectors: { ifNames: ["bond0.7"] } }],
    });
    await using one = await node({ host: plan, config });
    await one.kubelet.waitFor(() => kubeletCounts(one.kubelet)["rdma/vlan"] === "2/2", { what: "the pool" });
    const port = join(one.host.sysfs, "class/infiniband/mlx5_0/ports/1");
    const members = () => [...one.agent.state.inventory!.states.get("rdma/vlan")!.deviceStates.values()];
    for (const slot of ["0", "1", "2"]) {
      writeFileSync(join(port, "gids", slot), `${Array(8).fill("0000").join(":")}\n`);
      for (const table of ["ndevs", "types"]) rmSync(join(port, "gid_attrs", table, slot));
    }
    await one.agent.scan("test");
    deepEqual(members().map((state) => [state.healthy, state.member.hcas[0]!.netdevs]), [[true, [
      "bond0",
      "bond0.7",
      "ens1f0",
    ]]]);
    rmSync(join(one.host.sysfs, "class/net/bond0.7"));
    await one.agent.scan("test");
    equal(members()[0]!.present, false);
  },
);

/** The net device is in this network namespace again. */
function comesBack(one: Node, name: string, hca = "mlx5_0"): void {
  const { sysfs } = one.host;
  const device = Deno.realPathSync(join(sysfs, "class/infiniband", hca, "device"));
  const dir = join(device, "net", name);
  mkdirSync(dir, { recursive: true });
  writeFileSync(join(dir, "dev_port"), "0\n");
  symlinkSync(device, join(dir, "device"));
  rmSync(join(sysfs, "class/net", name), { force: true });
  symlinkSync(dir, join(sysfs, "class/net", name));
}
