/**
 * Renders the Helm chart. The golden files test/golden/chart/ are checked against the Kubernetes schemas everywhere, and
 * rendered again and compared where helm is.
 *
 * @module
 */
import { spawnSync } from "node:child_process";
import { ROOT } from "../support/root.ts";

export const CHART = "deploy/helm/rdma-device-plugin";
export const GOLDEN = "test/golden/chart";

/** Values to render with, by the golden file's name. */
export const CASES: Readonly<Record<string, Readonly<Record<string, unknown>>>> = {
  defaults: {},
  everything: {
    image: { repository: "example.com/rdma-device-plugin", tag: "1.2.3", pullPolicy: "Always" },
    imagePullSecrets: [{ name: "registry" }],
    config: { resources: [{ name: "rdma/roce", mode: "shared", share: "one", shares: 32 }] },
    logFormat: "json",
    cdi: true,
    watcher: true,
    podResources: true,
    hostNetwork: true,
    podMonitor: { enabled: true, interval: "15s", labels: { release: "prometheus" } },
    prometheusRule: {
      enabled: true,
      labels: { release: "prometheus" },
      runbooks: "https://wiki.example.com/alerts",
    },
    nodeSelector: { "feature.node.kubernetes.io/rdma.available": "true" },
    tolerations: [{ operator: "Exists" }],
    podAnnotations: { "example.com/owner": "hpc" },
    podLabels: { team: "hpc" },
  },
  dra: { dra: { enabled: true } },
  reports: { kubernetesEvents: true, nodeLabels: true, nfdFeatures: true },
  "no-ffi": { noFfi: true, seLinuxType: "", resourceName: "rdma/vf", master: "ens1f0" },
  "from-shared-device-plugin": { existingConfigMap: { name: "rdma-devices", key: "config.json" } },
  "from-sriov-device-plugin": {
    existingConfigMap: { name: "sriovdp-config", key: "config.json" },
    extraArgs: ["--resource-prefix=intel.com"],
  },
};

/** What helm makes of the chart with these values on a cluster of that version. @throws with helm's own words */
export function render(
  values: Readonly<Record<string, unknown>>,
  kubernetes = "1.34.0",
  release = "rdma-device-plugin",
): string {
  const run = spawnSync(
    "helm",
    ["template", release, CHART, "--namespace=kube-system", `--kube-version=${kubernetes}`, "--values=-"],
    { cwd: ROOT, encoding: "utf8", input: JSON.stringify(values) },
  );
  if (run.error !== undefined) throw run.error;
  if (run.status !== 0) throw new Error(run.stderr.trim());
  return run.stdout;
}
