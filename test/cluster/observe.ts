/**
 * What can be seen from outside: PodResources, metrics, probes, the doctor; and Pod Security, which must let us in.
 *
 * @module
 */
import { equal, match, rejects } from "@std/assert";
import { type Deployment, EXCLUSIVE } from "./deployment.ts";
import { RESOURCE } from "./host.ts";
import type { Situation } from "./situation.ts";

const WITH_PODS: Deployment = { components: ["pod-resources"] };

export const OBSERVE: readonly Situation[] = [
  {
    name: "PodResources: `list` and the metrics name the pod that holds an HCA",
    core: true,
    async play(stage) {
      await stage.use(WITH_PODS);
      const pod = await stage.run({ limits: { [RESOURCE]: 1 } });
      const hca = stage.exec(pod, "echo $RDMA_HCAS");
      match(
        await stage.plugin("list", "--pod-resources"),
        new RegExp(`held by default/${pod} \\(c0\\): ${RESOURCE} ${hca}`),
      );
      await stage.metricsSay(
        new RegExp(`hca="${hca}".*pod="${pod}"|pod="${pod}".*hca="${hca}"|device="${hca}".*pod="${pod}"`),
      );
    },
  },
  {
    name: "the doctor in the shipped pod finds nothing that must be fixed",
    async play(stage) {
      await stage.use(EXCLUSIVE);
      match(await stage.plugin("doctor"), /./);
    },
  },
  {
    name: "Pod Security: kube-system takes the plugin, `restricted` refuses it and says why",
    core: true,
    async play(stage) {
      await stage.use(EXCLUSIVE);
      const [ours] = await stage.pluginPods();
      await stage.namespace("privileged", { "pod-security.kubernetes.io/enforce": "privileged" });
      await stage.namespace("restricted", { "pod-security.kubernetes.io/enforce": "restricted" });
      const copy = { apiVersion: "v1", kind: "Pod", metadata: { name: "copy" }, spec: copyOf(ours!.spec) };
      const into = (namespace: string) =>
        stage.cluster.api.create(`/api/v1/namespaces/${namespace}/pods?dryRun=All`, copy);
      await into("privileged");
      await rejects(() => into("restricted"), /hostPath|restricted volume types/);
      equal(ours!.status.phase, "Running");
      await stage.allocatable(RESOURCE, 4);
    },
  },
];

/** A pod's spec without what a server and a controller put in. */
function copyOf(spec: object): object {
  const { nodeName: _node, priority: _priority, priorityClassName: _class, affinity: _affinity, ...rest } =
    spec as Record<string, unknown>;
  return rest;
}
