/**
 * The DRA driver through restarts, crashes and its end. Its updates are among those of the device plugin.
 *
 * @module
 */
import { deepEqual, equal } from "@std/assert";
import process from "node:process";
import { eventually } from "../support/eventually.ts";
import type { PodObject } from "../support/cluster/objects.ts";
import { claimFiles, nothingLeft, runClaim, slices, useDra } from "./dra_stage.ts";
import type { Situation } from "./situation.ts";

export const DRA_RESTARTS: readonly Situation[] = [
  {
    name: "DRA: the kubelet restarts: slices come back, pods go on, a new one is served",
    core: true,
    since: 34,
    async play(stage) {
      await useDra(stage);
      const old = await runClaim(stage, { cel: "rdma.rdmaDevice == 'mlx5_0'" });
      const before = (await stage.pod(old)).status.containerStatuses?.[0]?.containerID;
      await stage.cluster.node.stopKubelet("SIGTERM");
      await stage.cluster.node.startKubelet();
      await stage.cluster.nodeReady();
      const fresh = await runClaim(stage);
      equal(stage.exec(fresh, "echo $RDMA_HCAS"), "mlx5_1");
      equal((await stage.pod(old)).status.containerStatuses?.[0]?.containerID, before);
      equal((await slices(stage)).length, 1);
    },
  },
  {
    name: "DRA: the plugin is killed between prepare and unprepare: the pod ends all the same, and nothing is left",
    since: 34,
    async play(stage) {
      await useDra(stage);
      const pod = await runClaim(stage);
      const [plugin] = await stage.pluginPods();
      process.kill(stage.pluginPid(), "SIGKILL");
      await stage.delete(pod);
      await stage.cluster.api.until<PodObject, boolean>(
        `/api/v1/namespaces/kube-system/pods/${plugin!.metadata.name}`,
        (now) => now?.status.containerStatuses?.some((one) => one.restartCount > 0 && one.ready) ?? false,
        "the plugin again",
      );
      const again = await runClaim(stage);
      await stage.delete(again);
      await nothingLeft(stage);
    },
  },
  {
    name: "DRA: the CDI directory is lost: a new plugin writes the files of live claims again",
    since: 34,
    async play(stage) {
      await useDra(stage);
      const pod = await runClaim(stage);
      const before = claimFiles(stage);
      equal(before.length, 1);
      stage.cluster.space.run(["rm", before[0]!]);
      process.kill(stage.pluginPid(), "SIGKILL");
      await eventually(() => claimFiles(stage).length > 0, "the claim's file again", { timeoutMs: 30_000 });
      deepEqual(claimFiles(stage), before);
      await stage.delete(pod);
    },
  },
  {
    name: "DRA: drained and uninstalled: no socket and no claim is left",
    since: 34,
    async play(stage) {
      await useDra(stage);
      const pod = await runClaim(stage);
      await stage.delete(pod);
      await nothingLeft(stage);
      await stage.undeploy();
      deepEqual(stage.leftOnNode(), []);
    },
  },
];
