/**
 * Ports and HCAs that go and come back, as the node object and the pods' status show it.
 *
 * @module
 */
import { EXCLUSIVE } from "./deployment.ts";
import { RESOURCE } from "./host.ts";
import type { Situation } from "./situation.ts";
import { allocatedHealth } from "./stage.ts";

export const HEALTH: readonly Situation[] = [
  {
    name: "a port goes down and comes back: node allocatable follows",
    core: true,
    async play(stage) {
      await stage.use(EXCLUSIVE);
      await stage.allocatable(RESOURCE, 4);
      await stage.cluster.host.portDown("mlx5_1", 1);
      await stage.allocatable(RESOURCE, 3);
      await stage.cluster.host.portUp("mlx5_1", 1);
      await stage.allocatable(RESOURCE, 4);
    },
  },
  {
    name: "a port goes down and comes back under a pod: its allocatedResourcesStatus says Unhealthy, then Healthy",
    core: true,
    since: 36,
    async play(stage) {
      await stage.use(EXCLUSIVE);
      const pod = await stage.run({ limits: { [RESOURCE]: 1 } });
      const hca = stage.exec(pod, "echo $RDMA_HCAS");
      const health = (wanted: string) =>
        stage.untilPod(pod, (now) => now !== null && allocatedHealth(now, RESOURCE, hca) === wanted, wanted);
      await health("Healthy");
      await stage.cluster.host.carrierLost(hca, 1);
      await health("Unhealthy");
      await stage.cluster.host.portUp(hca, 1);
      await health("Healthy");
    },
  },
  {
    name: "an HCA goes and comes back: the node offers one less, then all again",
    core: true,
    async play(stage) {
      await stage.use(EXCLUSIVE);
      await stage.allocatable(RESOURCE, 4);
      await stage.cluster.host.removeHca("mlx5_2");
      stage.cluster.mirrorNodes();
      await stage.allocatable(RESOURCE, 3);
      await stage.cluster.host.restoreHca("mlx5_2");
      stage.cluster.mirrorNodes();
      await stage.allocatable(RESOURCE, 4);
    },
  },
];
