/**
 * What pods get: their nodes and variables, and only theirs.
 *
 * @module
 */
import { deepEqual, doesNotMatch, equal, match } from "@std/assert";
import { EXCLUSIVE, POOLS } from "./deployment.ts";
import { RESOURCE } from "./host.ts";
import type { Situation } from "./situation.ts";
import type { Stage } from "./stage.ts";

const NODES = "ls /dev/infiniband";
/** Major and minor number of the adapter that a container says it has. */
const OWN_NUMBER = "stat -c %t:%T /dev/infiniband/uverbs*";

export const PODS: readonly Situation[] = [
  {
    name: "a pod gets the nodes and variables of its HCA and no others",
    core: true,
    async play(stage) {
      await stage.use(EXCLUSIVE);
      const pod = await stage.run({ limits: { [RESOURCE]: 1 } });
      const number = Number(/^mlx5_(\d)$/.exec(stage.exec(pod, "echo $RDMA_HCAS"))?.[1]);
      deepEqual(lines(stage.exec(pod, NODES)), ["rdma_cm", `umad${number}`, `uverbs${number}`]);
      equal(
        stage.exec(pod, "echo $RDMA_NETDEVS $RDMA_UVERBS"),
        `ens${number + 1}f0np0 /dev/infiniband/uverbs${number}`,
      );
      equal(stage.exec(pod, OWN_NUMBER), `e7:c${number}`);
    },
  },
  {
    name: "the device cgroup refuses a neighbour's node, made by hand in the container",
    core: true,
    async play(stage) {
      await stage.use(EXCLUSIVE);
      const pod = await stage.run({ limits: { [RESOURCE]: 1 } });
      const own = Number(stage.exec(pod, "echo $RDMA_HCAS").slice(-1));
      // Allowed, but nothing answers behind a node of a fake host.
      match(stage.exec(pod, `cat /dev/infiniband/uverbs${own} || true`), /No such device or address/);
      const neighbour = 192 + (own + 1) % 4;
      match(stage.exec(pod, `mknod /n c 231 ${neighbour} && cat /n || true`), /Operation not permitted/);
    },
  },
  {
    name: "two containers of a pod get different HCAs, each its own",
    core: true,
    async play(stage) {
      await stage.use(EXCLUSIVE);
      const limits = { [RESOURCE]: 1 };
      const pod = await stage.run({ limits }, { limits });
      const [first, second] = ["c0", "c1"].map((container) => ({
        hca: stage.exec(pod, "echo $RDMA_HCAS", container),
        nodes: lines(stage.exec(pod, `${NODES} | grep uverbs`, container)),
      }));
      deepEqual(first!.nodes, [`uverbs${first!.hca.slice(-1)}`]);
      deepEqual(second!.nodes, [`uverbs${second!.hca.slice(-1)}`]);
      match(`${first!.hca} ${second!.hca}`, /^(mlx5_\d) (?!\1)mlx5_\d$/);
    },
  },
  {
    name: "a pod that asks for more than there is stays Pending, and starts when there is enough",
    core: true,
    async play(stage) {
      await stage.use(EXCLUSIVE);
      const first = await stage.run({ limits: { [RESOURCE]: 3 } });
      const second = await stage.create({ limits: { [RESOURCE]: 2 } });
      const reason = await stage.untilPod(
        second,
        (pod) =>
          pod?.status.conditions?.find(({ type, status }) => type === "PodScheduled" && status === "False")?.message,
        "a pod that cannot be scheduled",
      );
      match(reason, new RegExp(`Insufficient ${RESOURCE}`));
      await stage.delete(first);
      await stage.untilPod(second, (pod) => pod?.status.phase === "Running", "a pod that runs after all");
    },
  },
  {
    name: "a container of two resources has the nodes of both, and variables that tell them apart",
    async play(stage) {
      await usePools(stage);
      const pod = await stage.run({ limits: { "rdma/exclusive": 1, "rdma/all": 1 } });
      deepEqual(lines(stage.exec(pod, `${NODES} | grep uverbs`)), ["uverbs0", "uverbs1", "uverbs2"]);
      equal(stage.exec(pod, "echo $RDMA_HCAS_RDMA_EXCLUSIVE $RDMA_HCAS_RDMA_ALL"), "mlx5_0 mlx5_1,mlx5_2");
    },
  },
  {
    name: "shared, one: two pods share an HCA and each has only that one",
    core: true,
    async play(stage) {
      await usePools(stage);
      const hcas: string[] = [];
      for (let i = 0; i < 4; i++) {
        const pod = await stage.run({ limits: { "rdma/one": 1 } });
        const hca = stage.exec(pod, "echo $RDMA_HCAS");
        deepEqual(lines(stage.exec(pod, `${NODES} | grep uverbs`)), [`uverbs${hca.slice(-1)}`]);
        hcas.push(hca);
      }
      deepEqual(hcas.toSorted(), ["mlx5_1", "mlx5_1", "mlx5_2", "mlx5_2"]);
    },
  },
  {
    name: "shared, all: each share has every HCA of the pool",
    async play(stage) {
      await usePools(stage);
      for (let i = 0; i < 2; i++) {
        const pod = await stage.run({ limits: { "rdma/all": 1 } });
        deepEqual(lines(stage.exec(pod, `${NODES} | grep uverbs`)), ["uverbs1", "uverbs2"]);
      }
    },
  },
  {
    name: "CDI: containerd injects the nodes that the plugin's spec names",
    core: true,
    async play(stage) {
      await usePools(stage);
      const pod = await stage.run({ limits: { "rdma/cdi": 1 } });
      match(stage.exec(pod, NODES), /uverbs3/);
      doesNotMatch(stage.exec(pod, NODES), /uverbs[012]/);
      match(stage.exec(pod, "cat /dev/infiniband/uverbs3 || true"), /No such device or address/);
    },
  },
  {
    name: "CDI: a container that restarts while the plugin is away gets its nodes again",
    async play(stage) {
      await usePools(stage);
      // It ends when told to, and the kubelet starts it again.
      const script = "until [ -e /end ]; do sleep 0.1; done";
      const pod = await stage.run({ limits: { "rdma/cdi": 1 }, script });
      await stage.undeploy();
      stage.exec(pod, "touch /end");
      await stage.untilPod(
        pod,
        (now) => now?.status.containerStatuses?.some(({ restartCount, state }) => restartCount === 1 && state?.running),
        "the container to run again",
      );
      match(stage.exec(pod, NODES), /uverbs3/);
    },
  },
];

async function usePools(stage: Stage): Promise<void> {
  await stage.use(POOLS);
  const expected = { "rdma/exclusive": 1, "rdma/one": 4, "rdma/all": 3, "rdma/cdi": 1 };
  for (const [resource, count] of Object.entries(expected)) await stage.allocatable(resource, count);
}

function lines(text: string): string[] {
  return text.split(/\s+/).filter((line) => line !== "");
}
