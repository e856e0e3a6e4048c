/**
 * Coming from another plugin: its ConfigMap and its users' pods are taken as they are.
 *
 * @module
 */
import { equal, match } from "@std/assert";
import { join } from "node:path";
import { ROOT } from "./deployment.ts";
import type { Situation } from "./situation.ts";

/** What the shared plugin's users write: every adapter of a vendor, handed out together. */
const SHARED = {
  periodicUpdateInterval: 300,
  configList: [
    {
      resourceName: "hca_pool_a",
      rdmaHcaMax: 63,
      selectors: { vendors: ["15b3"], ifNames: ["ens1f0np0", "ens2f0np0"] },
    },
    { resourceName: "hca_pool_b", resourcePrefix: "example.com", rdmaHcaMax: 5, selectors: { ifNames: ["ens3f0np0"] } },
  ],
};

/** What the SR-IOV plugin's users write: functions by device and driver. */
const SRIOV = {
  resourceList: [
    {
      resourceName: "mlnx_rdma",
      resourcePrefix: "example.com",
      selectors: { vendors: ["15b3"], devices: ["101b"], drivers: ["mlx5_core"], isRdma: true },
    },
  ],
};

export const PEERS: readonly Situation[] = [
  {
    name: "the shared device plugin's ConfigMap and pods run unchanged",
    async play(stage) {
      await stage.undeploy();
      await stage.configMap("rdma-devices", { "config.json": JSON.stringify(SHARED) });
      stage.cluster.kubectl(["apply", "-k", join(ROOT, "deploy/kustomize/overlays/migrate-shared-device-plugin")]);
      await stage.deployed();
      await stage.allocatable("rdma/hca_pool_a", 63);
      await stage.allocatable("example.com/hca_pool_b", 5);
      const pod = await stage.run({ limits: { "rdma/hca_pool_a": 1 }, capabilities: ["IPC_LOCK"] });
      equal(stage.exec(pod, "ls /dev/infiniband | grep -c uverbs"), "2");
      match(stage.exec(pod, "ls /dev/infiniband"), /rdma_cm/);
    },
  },
  {
    name: "the SR-IOV plugin's ConfigMap and pods run unchanged, with its PCIDEVICE variable",
    async play(stage) {
      await stage.undeploy();
      await stage.configMap("sriovdp-config", { "config.json": JSON.stringify(SRIOV) });
      stage.cluster.kubectl(["apply", "-k", join(ROOT, "deploy/kustomize/overlays/migrate-sriov-device-plugin")]);
      await stage.deployed();
      await stage.allocatable("example.com/mlnx_rdma", 4);
      const pod = await stage.run({ limits: { "example.com/mlnx_rdma": 1 }, capabilities: ["IPC_LOCK"] });
      match(stage.exec(pod, "echo $PCIDEVICE_EXAMPLE_COM_MLNX_RDMA"), /^0000:[3-6]b:00\.0$/);
      equal(stage.exec(pod, "ls /dev/infiniband | grep -c uverbs"), "1");
    },
  },
];
