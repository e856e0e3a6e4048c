/**
 * The topology manager: with our hints, the devices of a container are on one NUMA node, or it is not admitted.
 *
 * @module
 */
import { equal, match } from "@std/assert";
import { EXCLUSIVE } from "./deployment.ts";
import { RESOURCE } from "./host.ts";
import type { Situation } from "./situation.ts";

const FIRST = "mlx5_0,mlx5_1";
const SECOND = "mlx5_2,mlx5_3";

export const TOPOLOGY: readonly Situation[] = [
  {
    name: "single-numa-node: two HCAs come from one NUMA node; what only fits across two is not admitted",
    core: true,
    async play(stage) {
      await stage.use(EXCLUSIVE);
      await stage.withKubelet({ topologyManagerPolicy: "single-numa-node" }, async () => {
        const one = await stage.run({ limits: { [RESOURCE]: 1 } });
        const hca = stage.exec(one, "echo $RDMA_HCAS");
        const two = await stage.run({ limits: { [RESOURCE]: 2 } });
        equal(stage.exec(two, "echo $RDMA_HCAS"), FIRST.includes(hca) ? SECOND : FIRST);
        await stage.delete(two);
        const three = await stage.create({ limits: { [RESOURCE]: 3 } });
        const refusal = await stage.untilPod(
          three,
          (pod) => pod?.status.phase === "Failed" ? `${pod.status.reason}: ${pod.status.message}` : null,
          "a pod that is not admitted",
        );
        match(refusal, /TopologyAffinityError/);
      });
    },
  },
];
