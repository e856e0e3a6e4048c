/**
 * Coming from another plugin: its ConfigMap and its users' pods are taken as they are.
 *
 * @module
 */
import { deepEqual, equal, match } from "@std/assert";
import { join } from "node:path";
import { SANDBOX_IMAGE } from "../support/cluster/config_files.ts";
import { ROOT } from "../support/root.ts";
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
    // VFs of a PF that has none on this machine.
    { resourceName: "first_rail", selectors: [{ pfNames: ["ens1f0np0#0-3"], linkTypes: ["ether"], isRdma: true }] },
    // Plain networking, which stays with the other plugin.
    { resourceName: "plain_vfs", selectors: { vendors: ["8086"], drivers: ["iavf"] } },
  ],
};

/** Pods on one pool, as that plugin's users start them: some write requests beside limits. */
const sharedPod = (name: string, requests = "") => `
apiVersion: v1
kind: Pod
metadata: { name: ${name} }
spec:
  restartPolicy: OnFailure
  containers:
    - name: c0
      image: ${SANDBOX_IMAGE}
      securityContext: { capabilities: { add: ["IPC_LOCK"] } }
      resources: { ${requests}limits: { rdma/hca_pool_a: 1 } }
      command: ["sh", "-c", "ls -l /dev/infiniband /sys/class/net; sleep 1000000"]
`;
const SHARED_PODS = `${sharedPod("shared-a")}---${sharedPod("shared-b", "requests: { rdma/hca_pool_a: 1 }, ")}`;

/** With the annotation by which Multus attaches networks, and requests beside limits. */
const sriovPod = (name: string, networks: string, count: number) => `
apiVersion: v1
kind: Pod
metadata:
  name: ${name}
  annotations: { k8s.v1.cni.cncf.io/networks: "${networks}" }
spec:
  containers:
    - name: c0
      image: ${SANDBOX_IMAGE}
      command: ["/bin/sh", "-c", "--"]
      args: ["while true; do sleep 300000; done;"]
      securityContext: { capabilities: { add: ["IPC_LOCK"] } }
      resources:
        requests: { example.com/mlnx_rdma: "${count}" }
        limits: { example.com/mlnx_rdma: "${count}" }
`;
const SRIOV_PODS = `${sriovPod("vf-test", "sriov-net1", 1)}---${
  sriovPod("vf-rails", "sriov-net1,sriov-net1,sriov-net1", 3)
}`;

/** By the overlay that takes the place of that plugin. */
export const PEERS: Readonly<Record<string, Situation>> = {
  "migrate-shared-device-plugin": {
    name: "the shared device plugin's ConfigMap and pods run unchanged",
    async play(stage) {
      await stage.undeploy();
      await stage.configMap("rdma-devices", { "config.json": JSON.stringify(SHARED) });
      stage.cluster.kubectl(["apply", "-k", join(ROOT, "deploy/kustomize/overlays/migrate-shared-device-plugin")]);
      await stage.deployed();
      await stage.allocatable("rdma/hca_pool_a", 63);
      await stage.allocatable("example.com/hca_pool_b", 5);
      await stage.apply(SHARED_PODS, "shared-a", "shared-b");
      for (const pod of ["shared-a", "shared-b"]) {
        match(stage.exec(pod, "ls /dev/infiniband"), /rdma_cm\n.*uverbs0\nuverbs1$/s);
        equal(stage.exec(pod, "ulimit -l; echo $RDMA_NETDEVS").split("\n").at(-1), "ens1f0np0,ens2f0np0");
      }
    },
  },
  "migrate-sriov-device-plugin": {
    name: "the SR-IOV plugin's ConfigMap and pods run unchanged, with its PCIDEVICE variable",
    async play(stage) {
      await stage.undeploy();
      await stage.configMap("sriovdp-config", { "config.json": JSON.stringify(SRIOV) });
      stage.cluster.kubectl(["apply", "-k", join(ROOT, "deploy/kustomize/overlays/migrate-sriov-device-plugin")]);
      await stage.deployed();
      await stage.allocatable("example.com/mlnx_rdma", 4);
      await stage.allocatable("intel.com/first_rail", 0);
      await stage.apply(SRIOV_PODS, "vf-test", "vf-rails");
      const addresses = (pod: string) => stage.exec(pod, "echo $PCIDEVICE_EXAMPLE_COM_MLNX_RDMA").split(",");
      const all = [...addresses("vf-test"), ...addresses("vf-rails")];
      deepEqual(all.toSorted(), ["0000:3b:00.0", "0000:4b:00.0", "0000:5b:00.0", "0000:6b:00.0"]);
      equal(stage.exec("vf-rails", "ls /dev/infiniband | grep -c uverbs"), "3");
      const [own] = addresses("vf-test");
      const info = JSON.parse(stage.exec("vf-test", "echo $PCIDEVICE_EXAMPLE_COM_MLNX_RDMA_INFO"));
      deepEqual(info[own!].generic, { deviceID: own });
      equal(stage.exec("vf-test", "ls /dev/infiniband/uverbs*"), info[own!].rdma.uverbs);
    },
  },
};
