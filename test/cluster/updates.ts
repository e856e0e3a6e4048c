/**
 * Updates: the node's devices are never away, and nothing is left when the plugin is gone for good.
 *
 * @module
 */
import { deepEqual, equal, ok } from "@std/assert";
import { EXCLUSIVE, POOLS } from "./deployment.ts";
import { RESOURCE } from "./host.ts";
import type { Situation } from "./situation.ts";
import { DAEMONSET, type Stage } from "./stage.ts";

const ROLLOUTS = 10;

export const UPDATES: readonly Situation[] = [
  {
    name: `${ROLLOUTS} rollouts one after the other: the node goes on to offer its devices`,
    core: true,
    async play(stage) {
      await stage.use(EXCLUSIVE);
      await stage.allocatable(RESOURCE, 4);
      // The kubelet reports to the API server as often as it does by default. Within, it has a gap of some 15 ms, more on a
      // busy machine, for it disconnects the new plugin when the old one's stream ends, and the new one registers again.
      await stage.withKubelet({ nodeStatusUpdateFrequency: "10s" }, () => tenRollouts(stage));
    },
  },
  {
    name: "a rollout to an image that does not start changes nothing, and is rolled back",
    async play(stage) {
      await stage.use(EXCLUSIVE);
      await stage.allocatable(RESOURCE, 4);
      const container = { name: "rdma-device-plugin", image: "localhost/no-such-image:1", imagePullPolicy: "Never" };
      await stage.cluster.api.patch(DAEMONSET, { spec: { template: { spec: { containers: [container] } } } });
      await stage.untilAnyPluginPod((pod) =>
        pod.status.containerStatuses?.some(({ state }) => state?.waiting?.reason === "ErrImageNeverPull") ?? false
      );
      equal(Number((await stage.node()).status.allocatable?.[RESOURCE]), 4);
      stage.cluster.kubectl(["-n", "kube-system", "rollout", "undo", "daemonset/rdma-device-plugin"]);
      await stage.deployed();
      // A pod that has just been started is deaf to SIGTERM (docs/reliability.md).
      await stage.onePluginPod();
      await stage.allocatable(RESOURCE, 4);
      const pod = await stage.run({ limits: { [RESOURCE]: 1 } });
      await stage.delete(pod);
    },
  },
  {
    name: "uninstalled: no socket, no CDI spec, no devices",
    core: true,
    async play(stage) {
      await stage.use(POOLS);
      await stage.allocatable("rdma/cdi", 1);
      await stage.undeploy();
      await stage.allocatable("rdma/cdi", 0);
      deepEqual(stage.leftOnNode(), []);
    },
  },
];

async function tenRollouts(stage: Stage): Promise<void> {
  const stop = new AbortController();
  const watched = followNumbers(stage, stop.signal, "3 of 4");
  const before = await namesOf(stage);
  for (let i = 1; i <= ROLLOUTS; i++) await rollOut(stage, String(i));
  ok(!before.includes((await namesOf(stage))[0]!), "the plugin's pod is still the one of before");
  // A change that must be seen: it shows that the watch sees such, and comes after all that the rollouts did.
  await stage.cluster.host.portDown("mlx5_0", 1);
  try {
    await stage.allocatable(RESOURCE, 3, 40_000);
  } catch (error) {
    stop.abort();
    throw error;
  }
  const { changes, numbers } = await watched;
  equal(numbers.pop(), "3 of 4");
  const blinks = numbers.filter((one) => one !== "4 of 4");
  // One report in ten rollouts may fall into the kubelet's gap.
  ok(blinks.length <= 1, `of ${changes} changes of the node, these had other numbers: ${blinks.join()}`);
}

/** A change of the pod template that changes nothing. */
async function rollOut(stage: Stage, mark: string): Promise<void> {
  await stage.cluster.api.patch(DAEMONSET, { spec: { template: { metadata: { annotations: { rollout: mark } } } } });
  await stage.deployed();
  await stage.onePluginPod();
}

async function namesOf(stage: Stage): Promise<string[]> {
  return (await stage.pluginPods()).map(({ metadata }) => metadata.name);
}

/** Follows the node until it offers `last` or `signal` aborts; the numbers are what it offered whenever that was another. */
async function followNumbers(
  stage: Stage,
  signal: AbortSignal,
  last: string,
): Promise<{ changes: number; numbers: string[] }> {
  let changes = 0;
  const numbers: string[] = [];
  try {
    for await (const node of stage.followNode(signal)) {
      changes++;
      const { capacity, allocatable } = node.status;
      const now = `${allocatable?.[RESOURCE]} of ${capacity?.[RESOURCE]}`;
      if (now !== numbers.at(-1)) numbers.push(now);
      if (now === last) break;
    }
  } catch (error) {
    if (!signal.aborted) throw error;
  }
  return { changes, numbers };
}
