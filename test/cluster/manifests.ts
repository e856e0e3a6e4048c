/**
 * The shipped ways to deploy, as they are: the manifest, every overlay, the chart.
 *
 * @module
 */
import { deepEqual, equal, match } from "@std/assert";
import { spawnSync } from "node:child_process";
import { join } from "node:path";
import process from "node:process";
import { ROOT } from "../support/root.ts";
import { RESOURCE } from "./host.ts";
import type { Situation } from "./situation.ts";
import type { Stage } from "./stage.ts";

/** Overlays that need something beside themselves, and what each one's node offers. */
const OVERLAYS: Readonly<Record<string, Readonly<Record<string, number>>>> = {
  "cdi": { [RESOURCE]: 4 },
  "config": { [RESOURCE]: 0, "rdma/roce": 128 },
  "host-network": { [RESOURCE]: 4 },
  "alerts": { [RESOURCE]: 4 },
  "metrics": { [RESOURCE]: 4 },
  "no-ffi": { [RESOURCE]: 4 },
  "watcher": { [RESOURCE]: 4 },
};

/** As the Prometheus operator brings them; the overlays `metrics` and `alerts` have objects of them. */
const OPERATOR_KINDS = [["PodMonitor", "podmonitors"], ["PrometheusRule", "prometheusrules"]] as const;
const definition = ([kind, plural]: typeof OPERATOR_KINDS[number]) => ({
  apiVersion: "apiextensions.k8s.io/v1",
  kind: "CustomResourceDefinition",
  metadata: { name: `${plural}.monitoring.coreos.com` },
  spec: {
    group: "monitoring.coreos.com",
    names: { kind, plural },
    scope: "Namespaced",
    versions: [{
      name: "v1",
      served: true,
      storage: true,
      schema: { openAPIV3Schema: { type: "object", "x-kubernetes-preserve-unknown-fields": true } },
    }],
  },
});

export const MANIFESTS: readonly Situation[] = [
  {
    name: "rdma-device-plugin.yml, as shipped, becomes Ready and its devices allocatable",
    core: true,
    async play(stage) {
      await stage.undeploy();
      stage.cluster.kubectl(["apply", "-f", join(ROOT, "rdma-device-plugin.yml")]);
      await stage.deployed();
      await stage.allocatable(RESOURCE, 4);
    },
  },
  ...Object.entries(OVERLAYS).map(([overlay, offered]): Situation => ({
    name: `the overlay ${overlay}, as shipped, becomes Ready and its devices allocatable`,
    // These two are about what the kubelet can do.
    core: overlay === "watcher" || overlay === "cdi",
    async play(stage) {
      await stage.undeploy();
      if (overlay === "metrics" || overlay === "alerts") defineOperatorKinds(stage);
      stage.cluster.kubectl(["apply", "-k", join(ROOT, "deploy/kustomize/overlays", overlay)]);
      await stage.deployed();
      for (const [resource, count] of Object.entries(offered)) await stage.allocatable(resource, count);
      if (overlay === "watcher") usedWatcher(stage);
      const limits = Object.entries(offered).find(([, count]) => count > 0)!;
      const pod = await stage.run({ limits: { [limits[0]]: 1 } });
      match(stage.exec(pod, "ls /dev/infiniband"), /uverbs/);
    },
  })),
  {
    name: "the chart: install, upgrade, rollback, and uninstall leaves nothing behind on the node",
    async play(stage) {
      await stage.undeploy();
      stage.removeSpecs();
      const helm = (...args: readonly string[]) => {
        const env = { ...process.env, KUBECONFIG: stage.cluster.kubeconfig };
        const all = [...args, "--namespace", "kube-system", "--wait", "--timeout=60s"];
        const { status, stderr } = spawnSync("helm", all, { cwd: ROOT, encoding: "utf8", env });
        equal(status, 0, `helm ${args.join(" ")}: ${stderr}`);
      };
      const chart = "deploy/helm/rdma-device-plugin";
      helm("install", "rdma-device-plugin", chart);
      await stage.allocatable(RESOURCE, 4);
      helm("upgrade", "rdma-device-plugin", chart, "--set", "resourceName=rdma/other", "--set", "cdi=true");
      await stage.allocatable("rdma/other", 4);
      helm("rollback", "rdma-device-plugin", "1");
      await stage.deployed();
      await stage.allocatable("rdma/other", 0);
      await stage.allocatable(RESOURCE, 4);
      helm("uninstall", "rdma-device-plugin");
      await stage.undeploy();
      deepEqual(stage.leftOnNode(), []);
    },
  },
];

function defineOperatorKinds(stage: Stage): void {
  for (const kind of OPERATOR_KINDS) {
    const crd = definition(kind);
    stage.cluster.kubectl(["apply", "-f", "-"], JSON.stringify(crd));
    stage.cluster.kubectl(["wait", "--for=condition=Established", `crd/${crd.metadata.name}`]);
  }
}

/** The kubelet found the plugin: its socket is in the watcher's directory. */
function usedWatcher(stage: Stage): void {
  match(stage.cluster.space.run(["ls", "/var/lib/kubelet/plugins_registry"]), /rdma.*\.sock/);
}
