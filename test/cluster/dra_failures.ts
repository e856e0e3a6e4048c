/**
 * The DRA driver where something is away or refuses: links, feature gates, the API server; and the chart, which has to bring
 * the same as the component.
 *
 * @module
 */
import { deepEqual, equal, ok } from "@std/assert";
import { readFileSync } from "node:fs";
import { join } from "node:path";
import process from "node:process";
import { parseAllDocuments, stringify } from "yaml";
import { eventually } from "../support/eventually.ts";
import { ROOT } from "../support/root.ts";
import { devices, nothingLeft, runClaim, taintsOf, useDra } from "./dra_stage.ts";
import type { Situation } from "./situation.ts";
import type { Stage } from "./stage.ts";

const OFF = {
  DRADeviceTaints: false,
  DRAConsumableCapacity: false,
  DRAPartitionableDevices: false,
  DRAExtendedResource: false,
};

export const DRA_FAILURES: readonly Situation[] = [
  {
    name: "DRA: with the taint NoExecute the pod of a port that goes down is deleted, and the others go on",
    since: 36,
    async play(stage) {
      await useDra(stage, "evicting");
      const victim = await runClaim(stage, { cel: "rdma.rdmaDevice == 'mlx5_1'" });
      const other = await runClaim(stage, { cel: "rdma.rdmaDevice == 'mlx5_2'" });
      await stage.cluster.host.carrierLost("mlx5_1", 1);
      await stage.gone(victim);
      equal((await stage.pod(other)).status.phase, "Running");
      await nothingLeft(stage, 1);
    },
  },
  {
    name: "DRA: an API server with the gates off: what is down is left out, nothing is shared, and both come back",
    since: 36,
    async play(stage) {
      await useDra(stage, "shared");
      await stage.cluster.withGates(OFF, async () => {
        const alone = await devices(
          stage,
          (all) => all.length === 4 && all.every((one) => one.allowMultipleAllocations !== true),
          "devices for one claim each",
        );
        ok(alone.every((one) => one.capacity?.shares === undefined));
        await stage.cluster.host.carrierLost("mlx5_1", 1);
        const left = await devices(stage, (all) => all.length === 3, "three devices");
        ok(!left.some((one) => one.attributes?.rdmaDevice?.string === "mlx5_1"));
      });
      await devices(
        stage,
        (all) => all.length === 4 && taintsOf(all, "mlx5_1").length > 0 && all[0]!.allowMultipleAllocations === true,
        "the taint, and shared devices",
      );
    },
  },
  {
    name: "DRA: the API server is away: a container of a prepared pod starts again; then the slices say what happened",
    since: 36,
    async play(stage) {
      await useDra(stage);
      const pod = await runClaim(stage, { cel: "rdma.rdmaDevice == 'mlx5_0'" });
      await stage.cluster.withoutApiServer(async () => {
        const [sleeper] = sleepers(stage);
        process.kill(sleeper!, "SIGKILL");
        await eventually(() => sleepers(stage).some((pid) => pid !== sleeper), "the container again");
        await stage.cluster.host.carrierLost("mlx5_1", 1);
      });
      await devices(stage, (all) => taintsOf(all, "mlx5_1").length > 0, "the taint");
      // What the scheduler makes of it is another situation's: after such an outage its own copy of the slices is late.
      await stage.cluster.host.portUp("mlx5_1", 1);
      await devices(stage, (all) => taintsOf(all, "mlx5_1").length === 0, "no taint");
      await stage.delete(pod);
      await nothingLeft(stage);
    },
  },
  {
    name: "DRA: the chart with dra.enabled brings all that a claim needs",
    since: 36,
    async play(stage) {
      await stage.undeploy();
      const text = readFileSync(join(ROOT, "test/golden/chart/dra.yaml"), "utf8");
      const objects = parseAllDocuments(text).map((one) => one.toJS() as Rendered).filter((one) => one !== null);
      for (const one of objects.filter(({ kind }) => kind === "DaemonSet")) {
        one.spec.template.spec.containers[0].args.push("--rescan=1");
      }
      const rendered = objects.map((one) => stringify(one)).join("---\n");
      stage.cluster.kubectl(["apply", "-f", "-"], rendered);
      try {
        await stage.deployed();
        await devices(stage, (all) => all.length === 4, "four devices");
        const pod = await runClaim(stage, { cel: "rdma.rdmaDevice == 'mlx5_3'" });
        equal(stage.exec(pod, "echo $RDMA_HCAS"), "mlx5_3");
        await stage.delete(pod);
        await nothingLeft(stage);
      } finally {
        stage.cluster.kubectl(["delete", "--ignore-not-found", "-f", "-"], rendered);
        await stage.undeploy();
      }
      deepEqual(stage.leftOnNode(), []);
    },
  },
];

/** A document of the chart, as far as it is changed here. */
interface Rendered {
  readonly kind: string;
  readonly spec: {
    readonly template: { readonly spec: { readonly containers: readonly [{ readonly args: string[] }] } };
  };
}

/** Processes of pods that sleep, as the machine numbers them. */
function sleepers(stage: Stage): readonly number[] {
  return stage.cluster.node.containerPids((command) => command.startsWith("sleep 100000"));
}
