/**
 * Restarts and crashes around the plugin: pods go on, and new ones are served.
 *
 * @module
 */
import { deepEqual, equal, notEqual } from "@std/assert";
import process from "node:process";
import type { PodObject } from "../support/cluster/objects.ts";
import { EXCLUSIVE } from "./deployment.ts";
import { RESOURCE } from "./host.ts";
import type { Situation } from "./situation.ts";
import type { Stage } from "./stage.ts";

export const RESTARTS: readonly Situation[] = [
  {
    name: "the kubelet restarts: running pods keep their HCAs, a new pod gets another",
    core: true,
    play: (stage) =>
      podsGoOn(stage, async () => {
        await stage.cluster.node.stopKubelet("SIGTERM");
        await stage.cluster.node.startKubelet();
      }),
  },
  {
    name: "the kubelet is killed with -9: the same",
    play: (stage) =>
      podsGoOn(stage, async () => {
        await stage.cluster.node.stopKubelet("SIGKILL");
        await stage.cluster.node.startKubelet();
      }),
  },
  {
    name: "containerd restarts: the same",
    play: (stage) => podsGoOn(stage, () => stage.cluster.node.restartContainerd()),
  },
  {
    name: "the plugin is killed with -9: running pods notice nothing, and it serves again",
    async play(stage) {
      await podsGoOn(stage, async () => {
        const [before] = await stage.pluginPods();
        const pid = stage.pluginPid();
        process.kill(pid, "SIGKILL");
        await stage.cluster.api.until<PodObject, boolean>(
          `/api/v1/namespaces/kube-system/pods/${before!.metadata.name}`,
          (pod) => pod?.status.containerStatuses?.some((one) => one.restartCount > 0 && one.ready) ?? false,
          "the plugin's container to be started again",
        );
      });
    },
  },
  {
    name: "the node reboots: sockets and cgroups are gone, the checkpoint is kept, and pods get HCAs again",
    async play(stage) {
      await stage.use(EXCLUSIVE);
      await stage.run({ limits: { [RESOURCE]: 1 } });
      const before = stage.pluginPid();
      await stage.cluster.reboot();
      await stage.cluster.nodeReady();
      await stage.cluster.untilNode(() => stage.pluginPidOrNull() !== null, "the plugin's process", 30_000);
      notEqual(stage.pluginPid(), before);
      await stage.servedAgain();
      // The kubelet may have refused the pod of before, whose devices were not there when it started.
      await stage.tidy();
      const pod = await stage.run({ limits: { [RESOURCE]: 4 } });
      equal(stage.exec(pod, "echo $RDMA_HCAS"), "mlx5_0,mlx5_1,mlx5_2,mlx5_3");
    },
  },
];

/** A pod from before `trouble` runs on untouched with its HCA, and one from after it gets none of that pod's. */
async function podsGoOn(stage: Stage, trouble: () => Promise<void>): Promise<void> {
  await stage.use(EXCLUSIVE);
  await stage.allocatable(RESOURCE, 4);
  const old = await stage.run({ limits: { [RESOURCE]: 1 } });
  const hca = stage.exec(old, "echo $RDMA_HCAS");
  const before = (await stage.pod(old)).status.containerStatuses?.[0]?.containerID;
  await trouble();
  await stage.cluster.nodeReady();
  await stage.servedAgain();
  const fresh = await stage.run({ limits: { [RESOURCE]: 3 } });
  const [status] = (await stage.pod(old)).status.containerStatuses ?? [];
  deepEqual([status?.containerID, status?.restartCount], [before, 0]);
  equal(stage.exec(old, "echo $RDMA_HCAS"), hca);
  equal(
    stage.exec(fresh, "echo $RDMA_HCAS"),
    ["mlx5_0", "mlx5_1", "mlx5_2", "mlx5_3"].filter((one) => one !== hca).join(),
  );
}
