/**
 * Every overlay of deploy/kustomize/overlays as it is shipped: it becomes Ready, its devices are allocatable, and what it
 * says that it does happens.
 *
 * @module
 */
import { equal, match } from "@std/assert";
import { join } from "node:path";
import { microTime } from "../../src/kubernetes/core_api.ts";
import { NODE_NAME } from "../support/cluster/config_files.ts";
import { eventually } from "../support/eventually.ts";
import { ROOT } from "../support/root.ts";
import { devices, nothingLeft, runClaim } from "./dra_stage.ts";
import { RESOURCE } from "./host.ts";
import { PEERS } from "./peers.ts";
import { event, features, forgetReports, labels, ready } from "./reports_stage.ts";
import type { Situation } from "./situation.ts";
import type { Stage } from "./stage.ts";

export const OVERLAYS_DIR = join(ROOT, "deploy/kustomize/overlays");

/** What is played on an overlay. */
interface Played extends Pick<Situation, "core" | "since"> {
  /** What the node offers; by default every HCA as the default resource. */
  readonly offers?: Readonly<Record<string, number>>;
  /** What the cluster needs first. */
  readonly before?: (stage: Stage) => Promise<void> | void;
  /** What it brings besides devices. @param pod one that has a device */
  readonly brings?: (stage: Stage, pod: string) => Promise<void> | void;
}

const PLAYED: Readonly<Record<string, Played>> = {
  // These two are about what the kubelet can do.
  "cdi": { core: true },
  "watcher": { core: true, brings: usedWatcher },
  "config": { offers: { [RESOURCE]: 0, "rdma/roce": 128 } },
  "host-network": {},
  "no-ffi": {},
  "alerts": { before: defineOperatorKinds },
  "metrics": { before: defineOperatorKinds },
  "kubernetes-events": { before: forgetReports, brings: conditionAndEvents },
  "node-labels": {
    before: forgetReports,
    brings: (stage) => labels(stage, "rdma.tencent.com/hcas", "4"),
  },
  "nfd-features": { before: forgetReports, brings: featureFile },
};

/** By the overlay's directory; a test compares them with those that there are. */
export const OVERLAYS: Readonly<Record<string, Situation>> = {
  ...Object.fromEntries(Object.entries(PLAYED).map(([overlay, played]) => [overlay, situation(overlay, played)])),
  "dra": {
    name: "the overlay dra, as shipped, becomes Ready, its devices are published and a claim gets one",
    since: 34,
    async play(stage) {
      await apply(stage, "dra");
      await devices(stage, (all) => all.length === 4, "four devices in ResourceSlices");
      const pod = await runClaim(stage, { cel: "rdma.rdmaDevice == 'mlx5_1'" });
      equal(stage.exec(pod, "echo $RDMA_HCAS"), "mlx5_1");
      await stage.delete(pod);
      await nothingLeft(stage);
    },
  },
  ...PEERS,
};

function situation(overlay: string, { core = false, offers = { [RESOURCE]: 4 }, before, brings }: Played): Situation {
  return {
    name: `the overlay ${overlay}, as shipped, becomes Ready and its devices allocatable`,
    core,
    async play(stage) {
      await stage.undeploy();
      await before?.(stage);
      await apply(stage, overlay);
      for (const [resource, count] of Object.entries(offers)) await stage.allocatable(resource, count);
      const [resource] = Object.entries(offers).find(([, count]) => count > 0)!;
      const pod = await stage.run({ limits: { [resource]: 1 } });
      match(stage.exec(pod, "ls /dev/infiniband"), /uverbs/);
      await brings?.(stage, pod);
    },
  };
}

async function apply(stage: Stage, overlay: string): Promise<void> {
  await stage.undeploy();
  stage.cluster.kubectl(["apply", "-k", join(OVERLAYS_DIR, overlay)]);
  await stage.deployed();
}

/** The kubelet found the plugin: its socket is in the watcher's directory. */
function usedWatcher(stage: Stage): void {
  match(stage.cluster.space.run(["ls", "/var/lib/kubelet/plugins_registry"]), /rdma.*\.sock/);
}

async function conditionAndEvents(stage: Stage, pod: string): Promise<void> {
  await ready(stage, "True");
  const hca = stage.exec(pod, "echo $RDMA_HCAS");
  const since = microTime(Date.now());
  await stage.cluster.host.carrierLost(hca, 1);
  await ready(stage, "False", new RegExp(`: ${hca}: `));
  await event(stage, "RDMADeviceUnhealthy", "Node", NODE_NAME, hca, since);
  await event(stage, "RDMADeviceUnhealthy", "Pod", pod, hca, since);
}

async function featureFile(stage: Stage): Promise<void> {
  await eventually(
    () => /^rdma\.tencent\.com\/hcas=4$/m.test(features(stage)),
    () => `labels in the feature file: ${features(stage)}`,
  );
}

/** As the Prometheus operator brings them; the overlays `metrics` and `alerts` have objects of them. */
const OPERATOR_KINDS = [["PodMonitor", "podmonitors"], ["PrometheusRule", "prometheusrules"]] as const;
const GROUP = "monitoring.coreos.com";
const definition = ([kind, plural]: typeof OPERATOR_KINDS[number]) => ({
  apiVersion: "apiextensions.k8s.io/v1",
  kind: "CustomResourceDefinition",
  metadata: { name: `${plural}.${GROUP}` },
  spec: {
    group: GROUP,
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

function defineOperatorKinds({ cluster }: Stage): void {
  const list = { apiVersion: "v1", kind: "List", items: OPERATOR_KINDS.map(definition) };
  cluster.kubectl(["apply", "-f", "-"], JSON.stringify(list));
  const names = OPERATOR_KINDS.map(([, plural]) => `crd/${plural}.${GROUP}`);
  cluster.kubectl(["wait", "--for=condition=Established", ...names]);
}
