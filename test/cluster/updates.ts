/**
 * Updates: the node's devices are never away, and nothing is left when the plugin is gone for good.
 *
 * @module
 */
import { deepEqual, equal, ok } from "@std/assert";
import { BOTH_APIS, EXCLUSIVE, POOLS } from "./deployment.ts";
import { devices, nothingLeft, runClaim, slices } from "./dra_stage.ts";
import { RESOURCE } from "./host.ts";
import type { Situation } from "./situation.ts";
import { DAEMONSET, type Stage } from "./stage.ts";

const ROLLOUTS = 10;
/** What the node offers meanwhile, and at last. */
const DEVICES = 3;
const LAST = `${DEVICES - 1} of ${DEVICES}`;

export const UPDATES: readonly Situation[] = [
  {
    name: `${ROLLOUTS} rollouts one after the other: the node goes on to offer its devices, and no slice is written`,
    core: true,
    since: 34,
    async play(stage) {
      await stage.use(BOTH_APIS);
      await stage.allocatable(RESOURCE, DEVICES);
      await devices(stage, (all) => all.length === 1, "a device in a ResourceSlice");
      // The kubelet reports to the API server as often as it does by default. Within, it has a gap of some 15 ms, more on a
      // busy machine, for it disconnects the new plugin when the old one's stream ends, and the new one registers again.
      await stage.withKubelet({ nodeStatusUpdateFrequency: "10s" }, () => tenRollouts(stage), DEVICES);
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
  const watched = followNumbers(stage, stop.signal, LAST);
  const claimant = await runClaim(stage);
  const published = await versionsOfSlices(stage);
  const before = await namesOf(stage);
  for (let i = 1; i <= ROLLOUTS; i++) await rollOut(stage, String(i));
  deepEqual(await versionsOfSlices(stage), published, "a slice was written, deleted or made");
  equal((await stage.pod(claimant)).status.phase, "Running");
  ok(!before.includes((await namesOf(stage))[0]!), "the plugin's pod is still the one of before");
  // A change that must be seen: it shows that the watch sees such, and comes after all that the rollouts did.
  await stage.cluster.host.portDown("mlx5_0", 1);
  try {
    await stage.allocatable(RESOURCE, DEVICES - 1, 40_000);
  } catch (error) {
    stop.abort();
    throw error;
  }
  const { changes, numbers } = await watched;
  equal(numbers.pop(), LAST);
  const blinks = numbers.filter((one) => one !== `${DEVICES} of ${DEVICES}`);
  await stage.delete(claimant);
  await nothingLeft(stage);
  // One report in ten rollouts may fall into the kubelet's gap.
  ok(blinks.length <= 1, `of ${changes} changes of the node, these had other numbers: ${blinks.join()}`);
}

async function versionsOfSlices(stage: Stage): Promise<readonly (readonly string[])[]> {
  return (await slices(stage)).map(({ metadata }) => [metadata.uid, metadata.resourceVersion]);
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
