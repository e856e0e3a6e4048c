/**
 * The DRA driver: claims, sharing, taints, health, unchanged pods, and the ways in which one HCA could be given twice.
 *
 * @module
 */
import { deepEqual, equal, match, ok, rejects } from "@std/assert";
import { readdirSync, readFileSync } from "node:fs";
import process from "node:process";
import { fileURLToPath } from "node:url";
import { sameSpec } from "../../src/dra/slices.ts";
import type { ResourceSlice } from "../../src/kubernetes/resource_api.ts";
import { DRA_FAILURES } from "./dra_failures.ts";
import { DRA_RESTARTS } from "./dra_restarts.ts";
import {
  claimHealth,
  claimSpec,
  CLASSES,
  createPod,
  deleteClass,
  devices,
  failure,
  nothingLeft,
  runClaim,
  running,
  taintsOf,
  template,
  tidyClaims,
  unschedulable,
  useDra,
} from "./dra_stage.ts";
import { RESOURCE } from "./host.ts";
import type { Situation } from "./situation.ts";
import type { Stage } from "./stage.ts";
import { median } from "../support/statistics.ts";

/** Pods of each kind whose start is timed: `--runs` of the task. */
const TIMED = Number(process.env.CLUSTER_RUNS ?? 5);
/** The node is switched between the two kinds after so many. */
const TIMED_AT_ONCE = 10;

const SITUATIONS: readonly Situation[] = [
  {
    name: "DRA: a claim by CEL gets exactly the HCA that it describes",
    core: true,
    since: 34,
    async play(stage) {
      await useDra(stage);
      const pod = await runClaim(stage, {
        cel: "rdma.numaNode == 1 && rdma.rateGbps >= 100 && rdma.rdmaDevice == 'mlx5_3'",
      });
      equal(stage.exec(pod, "echo $RDMA_HCAS"), "mlx5_3");
      // No node for management datagrams: a DeviceClass may give it, and this one does not.
      deepEqual(stage.exec(pod, "ls /dev/infiniband").split(/\s+/).sort(), ["rdma_cm", "uverbs3"]);
    },
  },
  {
    name:
      "DRA: two requests with matchAttribute on pcieRoot get HCAs below one root; when there are none left they wait",
    since: 34,
    async play(stage) {
      await useDra(stage);
      const all = await devices(stage, (list) => list.length === 4, "four devices");
      const attributesOf = (hca: string) =>
        all.find((one) => one.attributes?.rdmaDevice?.string === hca)?.attributes ?? {};
      const rootOf = (hca: string) => attributesOf(hca)["resource.kubernetes.io/pcieRoot"]?.string;
      const got = (name: string) => stage.exec(name, "echo $RDMA_HCAS_LEFT $RDMA_HCAS_RIGHT").split(" ");
      const both = [{ name: "left" }, { name: "right" }];
      const byRoot = await template(stage, claimSpec(both, "resource.kubernetes.io/pcieRoot"));
      const pod = await createPod(stage, byRoot);
      await running(stage, pod);
      const together = got(pod);
      equal(new Set(together).size, 2);
      equal(new Set(together.map(rootOf)).size, 1);
      // Two are free now, each below a root of its own.
      await unschedulable(stage, await createPod(stage, byRoot));
      const numa = await createPod(stage, await template(stage, claimSpec(both, "rdma.tencent.com/numaNode")));
      await running(stage, numa);
      const variables = got(numa);
      equal(new Set(variables.map((hca) => attributesOf(hca).numaNode?.int)).size, 1);
      equal(new Set(variables).size, 2);
    },
  },
  {
    name: "DRA: two pods share an HCA, and one that wants all of its shares gets another",
    since: 36,
    async play(stage) {
      await useDra(stage, "shared");
      const on = (capacity: Record<string, string>) => runClaim(stage, { cel: "rdma.numaNode == 0", capacity });
      const one = await on({ bandwidth: "60G" });
      const two = await on({ shares: "1" });
      const hcaOf = (pod: string) => stage.exec(pod, "echo $RDMA_HCAS");
      equal(hcaOf(one), hcaOf(two));
      const all = await on({ shares: "2" });
      ok(hcaOf(all) !== hcaOf(one));
      const more = await createPod(
        stage,
        await template(stage, claimSpec([{ cel: "rdma.numaNode == 0", capacity: { shares: "1" } }])),
      );
      await unschedulable(stage, more);
      await stage.delete(two);
      await running(stage, more);
      equal(hcaOf(more), hcaOf(one));
    },
  },
  {
    name:
      "DRA: a port that is down keeps a pod pending until it is back, and pod status says why for the one that has it",
    since: 36,
    async play(stage) {
      await useDra(stage);
      const cel = "rdma.rdmaDevice == 'mlx5_1'";
      const pod = await runClaim(stage, { cel });
      await stage.untilPod(
        pod,
        (now) => now !== null && claimHealth(now).some((one) => one.health === "Healthy"),
        "Healthy",
      );
      await stage.cluster.host.carrierLost("mlx5_1", 1);
      await devices(stage, (all) => taintsOf(all, "mlx5_1").length > 0, "a taint");
      const unhealthy = await stage.untilPod(
        pod,
        (now) => now !== null && claimHealth(now).find((one) => one.health === "Unhealthy"),
        "Unhealthy",
      );
      match(unhealthy.message ?? "", /mlx5_1: port 1 is DOWN \(Polling\)/);
      match(unhealthy.resourceID, /^rdma\.tencent\.com\/hca=.*-mlx5_1$/);
      await stage.delete(pod);
      const pending = await createPod(stage, await template(stage, claimSpec([{ cel }])));
      await unschedulable(stage, pending);
      await stage.cluster.host.portUp("mlx5_1", 1);
      await running(stage, pending);
    },
  },
  {
    name:
      "DRA: an unchanged pod is served through a DeviceClass, and an HCA that the device plugin gave away never is (s1, s2)",
    since: 36,
    async play(stage) {
      await nothingLeft(stage);
      await useDra(stage, "plugin");
      await stage.allocatable(RESOURCE, 4);
      const s1 = await stage.run({ limits: { [RESOURCE]: 1 } });
      const hca = stage.exec(s1, "echo $RDMA_HCAS");
      await stage.cluster.api.create(CLASSES, {
        metadata: { name: "unchanged" },
        spec: {
          extendedResourceName: RESOURCE,
          selectors: [{ cel: { expression: `device.driver == "rdma.tencent.com"` } }],
        },
      });
      try {
        // The node is switched under the running pod: the kubelet keeps the pod, the scheduler knows nothing of it.
        await useDra(stage);
        await stage.allocatable(RESOURCE, 0);
        await devices(
          stage,
          (all) => taintsOf(all, hca).some((one) => one.key.endsWith("/held-by-device-plugin")),
          "the taint",
        );
        const others = [await stage.run({ limits: { [RESOURCE]: 3 } })];
        const got = stage.exec(others[0]!, "env").split("\n").filter((one) => one.startsWith("RDMA_HCA_MLX5_"));
        equal(got.length, 3);
        ok(
          !got.some((one) => one.startsWith(`RDMA_HCA_${hca.toUpperCase()}=`)),
          `${hca} was given twice: ${got.join()}`,
        );
        // A claim that tolerates everything gets past the scheduler, and is refused on the node.
        const spec = claimSpec([{ cel: `rdma.rdmaDevice == '${hca}'` }]) as {
          devices: { requests: { exactly: { tolerations?: object[] } }[] };
        };
        spec.devices.requests[0]!.exactly.tolerations = [{ operator: "Exists" }];
        const s2 = await createPod(stage, await template(stage, spec));
        const message = await failure(stage, s2, /is held by pod/);
        match(message, new RegExp(`\\(${hca}\\) is held by pod default/${s1} through ${RESOURCE.replace("/", "\\/")}`));
        await stage.delete(s1);
        await running(stage, s2);
        equal(stage.exec(s2, "echo $RDMA_HCAS"), hca);
        for (const pod of [s2, ...others]) await stage.delete(pod);
      } finally {
        await deleteClass(stage, "unchanged");
      }
    },
  },
  {
    name: "DRA: an HCA that a claim has is not offered by the device plugin when the node is switched back",
    since: 36,
    async play(stage) {
      await useDra(stage);
      const pod = await runClaim(stage, { cel: "rdma.rdmaDevice == 'mlx5_2'" });
      await useDra(stage, "plugin");
      await stage.allocatable(RESOURCE, 3);
      const all = await stage.run({ limits: { [RESOURCE]: 3 } });
      equal(stage.exec(all, "echo $RDMA_HCAS"), "mlx5_0,mlx5_1,mlx5_3");
      await stage.delete(all);
      // The driver is still served for the claim, so the pod ends, and its HCA comes back.
      await stage.delete(pod);
      await stage.allocatable(RESOURCE, 4, 100_000);
    },
  },
  {
    name: "DRA: the admission policy keeps a node's plugin to its own slices",
    since: 34,
    async play(stage) {
      await useDra(stage);
      const [pod] = await stage.pluginPods();
      const bound = ["--bound-object-kind=Pod", `--bound-object-name=${pod!.metadata.name}`];
      const token = stage.cluster.kubectl(["-n", "kube-system", "create", "token", "rdma-device-plugin", ...bound])
        .trim();
      const create = (nodeName: string, driver = "rdma.tencent.com") =>
        stage.cluster.kubectl(
          [
            "--token",
            token,
            "--kubeconfig",
            "/dev/null",
            "--server",
            stage.cluster.url,
            "--insecure-skip-tls-verify",
            "create",
            "--dry-run=server",
            "-f",
            "-",
          ],
          JSON.stringify({
            apiVersion: "resource.k8s.io/v1",
            kind: "ResourceSlice",
            metadata: { name: "probe" },
            spec: { driver, nodeName, pool: { name: nodeName, generation: 1, resourceSliceCount: 1 }, devices: [] },
          }),
        );
      const own = (await stage.node()).metadata.name;
      match(create(own), /created/);
      await rejects(
        async () => await Promise.resolve(create("somebody-else")),
        /writes ResourceSlices of that node only/,
      );
      await rejects(
        async () => await Promise.resolve(create(own, "gpu.example")),
        /of the driver rdma\.tencent\.com only/,
      );
    },
  },
  {
    name: "DRA: the golden slices of every host are what the API server takes",
    since: 36,
    play(stage) {
      const dir = fileURLToPath(new URL("../golden/slices", import.meta.url));
      for (const file of readdirSync(dir)) {
        const all = JSON.parse(readFileSync(`${dir}/${file}`, "utf8")) as { metadata: { ownerReferences?: object } }[];
        for (const slice of all) {
          delete slice.metadata.ownerReferences;
          const made = stage.cluster.kubectl(
            ["create", "--dry-run=server", "-o", "json", "-f", "-"],
            JSON.stringify(slice),
          );
          const kept = (JSON.parse(made) as ResourceSlice).spec;
          const { spec } = slice as unknown as ResourceSlice;
          ok(sameSpec(kept, spec), `${file}: the server changed it: ${JSON.stringify(kept)}`);
        }
      }
      return Promise.resolve();
    },
  },
  {
    name: "DRA: from created to running, printed beside the device plugin's path",
    since: 36,
    async play(stage) {
      await useDra(stage);
      const name = await template(stage, claimSpec([{}]));
      const claims: number[] = [], plugin: number[] = [];
      // Both at once on one node are two resources; in turns, so that a slow machine is slow for both.
      for (let left = TIMED; left > 0; left -= TIMED_AT_ONCE) {
        const runs = Math.min(left, TIMED_AT_ONCE);
        await useDra(stage);
        for (let i = 0; i < runs; i++) claims.push(await timed(stage, () => createPod(stage, name)));
        await nothingLeft(stage);
        await useDra(stage, "plugin");
        await stage.allocatable(RESOURCE, 4);
        for (let i = 0; i < runs; i++) {
          plugin.push(await timed(stage, () => stage.create({ limits: { [RESOURCE]: 1 } })));
        }
      }
      const ratio = median(claims) / median(plugin);
      process.stderr.write(
        `created to running, medians of ${TIMED}: claim ${median(claims).toFixed(0)} ms, ` +
          `device plugin ${median(plugin).toFixed(0)} ms, ${ratio.toFixed(2)} times\n`,
      );
      // The speed depends on the machine, so it is printed and not asserted.
      equal(claims.length + plugin.length, 2 * TIMED);
    },
  },
];

export const DRA: readonly Situation[] = [...SITUATIONS, ...DRA_FAILURES, ...DRA_RESTARTS].map((one) => ({
  ...one,
  async play(stage) {
    await tidyClaims(stage);
    await one.play(stage);
  },
}));

async function timed(stage: Stage, create: () => Promise<string>): Promise<number> {
  const begun = performance.now();
  const pod = await create();
  await running(stage, pod);
  const ms = performance.now() - begun;
  await stage.delete(pod);
  // The next claim would get the same HCA and wait for this one's end: that is not what is measured.
  await nothingLeft(stage);
  return ms;
}
