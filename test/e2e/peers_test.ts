import { deepEqual, equal, match } from "@std/assert";
import { fileURLToPath } from "node:url";
import { loadConfig } from "../../src/config/mod.ts";
import { FakeKubelet, type HcaDescription, type HostDescription } from "../../sim/mod.ts";
import { world } from "../support/world.ts";

const EXAMPLES = fileURLToPath(new URL("../../examples/config/", import.meta.url));

/** A ConnectX function; what is not said is a ConnectX-6 Dx with one RoCE port. */
function connectx(number: number, pci: string, over: Partial<HcaDescription>): HcaDescription {
  return {
    name: `mlx5_${number}`,
    vendor: "15b3",
    device: "101d",
    driver: "mlx5_core",
    nodeGuid: `0c42:a103:0000:0${number}00`,
    pci,
    numaNode: 0,
    ports: [{ linkLayer: "Ethernet" }],
    ...over,
  };
}

/** A node as both peers' sample files have in mind: two InfiniBand ports, two RoCE PFs with VFs, two plain RoCE NICs. */
const NODE: HostDescription = {
  hcas: [
    connectx(0, "0000:1a:00.0", {
      device: "1017",
      netdevs: [{ name: "ib0", type: "ipoib" }],
      ports: [{ linkLayer: "InfiniBand" }],
    }),
    connectx(1, "0000:1a:00.1", {
      device: "101b",
      netdevs: [{ name: "ib1", type: "ipoib" }],
      ports: [{ linkLayer: "InfiniBand" }],
    }),
    connectx(2, "0000:3b:00.0", { netdevs: ["ens1f0"], totalVfs: 8, vfs: 8, vf: { device: "101e" } }),
    connectx(3, "0000:3b:02.0", { netdevs: ["ens1f1"], totalVfs: 8, vfs: 4, vf: { device: "101e" } }),
    connectx(4, "0000:5e:00.0", { netdevs: ["ens2f0"] }),
    connectx(5, "0000:5e:00.1", { netdevs: ["ens2f1"] }),
    connectx(6, "0000:af:00.4", { netdevs: ["ens3f0"], numaNode: 1 }),
  ],
};

async function specsOf(file: string) {
  const result = await loadConfig(EXAMPLES + file);
  if (!result.ok) throw new Error(JSON.stringify(result.mistakes));
  return result.config.resources;
}

function counts(kubelet: FakeKubelet) {
  const all = Object.values(kubelet.state().resources).map((one) => [one.name, one.allocatable]);
  return Object.fromEntries(all.sort());
}

Deno.test("The shared plugin's file gives its resource names, rdmaHcaMax devices each, and every HCA of the pool", async () => {
  await using one = await world({ host: NODE, specs: await specsOf("shared-device-plugin.json") });
  await one.kubelet.waitFor(
    (state) => Object.keys(state.resources).length === 2 && counts(one.kubelet)["rdma/hca_shared_a"] === 1_000,
    {
      what: "both resources",
    },
  );
  deepEqual(counts(one.kubelet), { "example.org/hca_shared_b": 63, "rdma/hca_shared_a": 1_000 });
  const { devices } = one.kubelet.state().resources["rdma/hca_shared_a"]!;
  deepEqual(devices.slice(0, 2).map((device) => device.id), ["0", "1"]);
  const pod = await one.kubelet.admit({ name: "a", resource: "rdma/hca_shared_a", count: 1 });
  const nodes = pod.view.devices.map((device) => device.hostPath.replace("/dev/infiniband/", ""));
  deepEqual(nodes, ["uverbs0", "umad0", "issm0", "uverbs1", "umad1", "issm1", "rdma_cm"]);
  const other = await one.kubelet.admit({ name: "b", resource: "example.org/hca_shared_b", count: 1 });
  equal(other.view.envs.RDMA_NETDEVS, "ens2f0,ens2f1");
});

Deno.test("The SR-IOV plugin's file gives its resource names, the VFs its selectors mean, and its variables", async () => {
  await using one = await world({ host: NODE, specs: await specsOf("sriov-network-device-plugin.json") });
  await one.kubelet.waitFor((state) => Object.keys(state.resources).length === 2, { what: "both resources" });
  await one.kubelet.waitFor(() => counts(one.kubelet)["example.org/storage_vfs"] === 9, { what: "nine VFs" });
  deepEqual(counts(one.kubelet), { "example.org/storage_vfs": 9, "intel.com/ib-vfs": 1 });
  const ids = one.kubelet.state().resources["example.org/storage_vfs"]!.devices.map((device) => device.id);
  deepEqual(ids.filter((id) => id.startsWith("0000:3b:00.")), [2, 3, 4, 5].map((n) => `0000:3b:00.${n}`));
  const pod = await one.kubelet.admit({ name: "a", resource: "example.org/storage_vfs", count: 1 });
  const variables = pod.view.envs;
  equal(variables.PCIDEVICE_EXAMPLE_ORG_STORAGE_VFS, "0000:3b:00.2");
  const info = JSON.parse(variables.PCIDEVICE_EXAMPLE_ORG_STORAGE_VFS_INFO!);
  deepEqual(info["0000:3b:00.2"].generic, { deviceID: "0000:3b:00.2" });
  deepEqual(info["0000:3b:00.2"].extraInfo, { fabric: "storage", rail: "0" });
  match(info["0000:3b:00.2"].rdma.uverbs, /^\/dev\/infiniband\/uverbs\d+$/);
  const numa = one.kubelet.state().resources["intel.com/ib-vfs"]!.devices.map((device) => device.numa);
  deepEqual(numa, [[]], "excludeTopology leaves the NUMA node out");
});
