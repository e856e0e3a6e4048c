/**
 * Events, the condition RDMAReady and labels on a real API server: what is written and how soon, what may not be, and
 * what becomes of it while the server is away. Figures are printed.
 *
 * @module
 */
import { deepEqual, equal, match, ok } from "@std/assert";
import { readFileSync } from "node:fs";
import process from "node:process";
import { setTimeout as delay } from "node:timers/promises";
import { EVENTS_API, microTime, type NodeCondition } from "../../src/kubernetes/core_api.ts";
import type { Finding } from "../../src/doctor/finding.ts";
import { eventually } from "../support/eventually.ts";
import { NODE_NAME } from "../support/cluster/config_files.ts";
import { RESOURCE } from "./host.ts";
import {
  event,
  events,
  features,
  FLOW,
  followingNode,
  labels,
  ready,
  refusals,
  requestsOf,
  useReports,
  useReportsThatHear,
} from "./reports_stage.ts";
import type { Situation } from "./situation.ts";
import type { Stage } from "./stage.ts";

const FLAPS = 100;
const QUIET_MS = 20_000;

const say = (line: string) => void process.stderr.write(`    ${line}\n`);

export const REPORTS: readonly Situation[] = [
  {
    name:
      "reports: a port goes down and comes back under a pod: condition, event on the node, event on the pod, labels",
    since: 34,
    async play(stage) {
      await useReports(stage);
      await stage.allocatable(RESOURCE, 4);
      const before = await ready(stage, "True");
      equal(before.reason, "AllDevicesHealthy");
      const pod = await stage.run({ limits: { [RESOURCE]: 1 } });
      const hca = stage.exec(pod, "echo $RDMA_HCAS");
      const { uid } = (await stage.pod(pod)).metadata;
      await using follow = followingNode(stage);
      const begun = performance.now();
      await stage.cluster.host.carrierLost(hca, 1);
      const down = await follow.until("RDMAReady", "False");
      const conditionMs = performance.now() - begun;
      const onNode = await event(stage, "RDMADeviceUnhealthy", "Node", NODE_NAME, hca);
      const nodeMs = performance.now() - begun;
      const onPod = await event(stage, "RDMADeviceUnhealthy", "Pod", pod, hca);
      const podMs = performance.now() - begun;
      const ms = [conditionMs, nodeMs, podMs].map(Math.round);
      say(`port down → condition ${ms[0]} ms, event on the node ${ms[1]} ms, event on the pod ${ms[2]} ms`);
      match(down.message ?? "", new RegExp(`^1 of 4 devices not healthy: ${hca}: port 1 is DOWN`));
      equal(onNode.type, "Warning");
      equal(onPod.regarding.uid, uid);
      match(stage.cluster.kubectl(["describe", "pod", pod]), /RDMADeviceUnhealthy/);
      match(stage.cluster.kubectl(["describe", "node", NODE_NAME]), /RDMADeviceUnhealthy/);
      await labels(stage, "rdma.tencent.com/ports-active", "3");
      await stage.cluster.host.portUp(hca, 1);
      const up = await ready(stage, "True");
      ok(up.lastTransitionTime! >= down.lastTransitionTime!);
      await event(stage, "RDMADeviceHealthy", "Node", NODE_NAME, hca);
      await event(stage, "RDMADeviceHealthy", "Pod", pod, hca);
      await labels(stage, "rdma.tencent.com/ports-active", "4");
      await labels(stage, "rdma.tencent.com/transport.roce", "true");
      match(features(stage), /^rdma\.tencent\.com\/ports-active=4$/m);
    },
  },
  {
    name: "reports: nothing is asked of the API server while nothing happens",
    since: 34,
    async play(stage) {
      await useReports(stage);
      await stage.cluster.api.create(FLOW.path, FLOW.object);
      try {
        await ready(stage, "True");
        // One request of the account that is counted, so that the count is known to work.
        await refusals(stage, [["GET", `/api/v1/nodes/${NODE_NAME}`]]);
        const counted = await requestsOf(stage, (count) => count > 0);
        await delay(QUIET_MS);
        const asked = await requestsOf(stage) - counted;
        say(
          `${asked} requests to the API server in ${QUIET_MS / 1e3} quiet seconds: ${
            asked * 3_600_000 / QUIET_MS
          } an hour`,
        );
        equal(asked, 0);
      } finally {
        await stage.cluster.api.delete(`${FLOW.path}/${FLOW.object.metadata.name}`);
      }
    },
  },
  {
    name: "reports: the account may do what it must on its own node, and nothing else",
    since: 34,
    async play(stage) {
      await useReports(stage);
      await ready(stage, "True");
      const own = `/api/v1/nodes/${NODE_NAME}`;
      const other = "/api/v1/nodes/another";
      await stage.cluster.api.create("/api/v1/nodes", { metadata: { name: "another" } });
      const condition = (type: string, status = "False") => ({ status: { conditions: [{ type, status }] } });
      try {
        deepEqual(
          await refusals(stage, [
            ["GET", own],
            // As it is: the plugin does not look for what others make of its condition.
            ["PATCH", `${own}/status`, condition("RDMAReady", "True")],
            ["PATCH", own, { metadata: { labels: { "rdma.tencent.com/hcas": "4" } } }],
          ]),
          [],
        );
        const wrong: Parameters<typeof refusals>[1] = [
          ["PATCH", `${other}/status`, condition("RDMAReady")],
          ["PATCH", `${own}/status`, condition("Ready")],
          ["PATCH", `${own}/status`, { status: { capacity: { "tencent.com/rdma": "99" } } }],
          ["PATCH", other, { metadata: { labels: { "rdma.tencent.com/hcas": "4" } } }],
          ["PATCH", own, { metadata: { labels: { "kubernetes.io/role": "master" } } }],
          ["PATCH", own, { metadata: { annotations: { a: "b" } } }],
          ["PATCH", own, { spec: { unschedulable: true } }],
          ["PATCH", own, { spec: { taints: [{ key: "a", effect: "NoExecute" }] } }],
          ["DELETE", other],
          ["GET", "/api/v1/nodes"],
          ["GET", "/api/v1/pods"],
          ["GET", "/api/v1/namespaces/kube-system/secrets"],
          ["GET", `/apis/${EVENTS_API}/events`],
          ["DELETE", `/apis/${EVENTS_API}/namespaces/default/events`],
          ["POST", "/api/v1/namespaces/default/pods", { metadata: { name: "a" }, spec: { containers: [] } }],
        ];
        deepEqual(await refusals(stage, wrong), wrong.map(([method, path]) => `${method} ${path}`));
      } finally {
        await stage.cluster.api.delete(other);
      }
      const [pod] = await stage.pluginPods();
      const doctor = ["/usr/bin/deno", "run", "--quiet", "-P=image-api", "/app/rdma-device-plugin.mjs", "doctor"];
      const flags = ["--kubernetes-events", "--node-labels", "--json"];
      const words = ["-n", "kube-system", "exec", pod!.metadata.name, "--", ...doctor, ...flags];
      const findings = JSON.parse(stage.cluster.kubectl(words)) as Finding[];
      deepEqual(findings.filter(({ id }) => id.startsWith("report-")).map((one) => one.severity), ["ok"]);
    },
  },
  {
    name: "reports: while the API server is away the kubelet is served as before, and then it gets the latest",
    since: 34,
    async play(stage) {
      await useReports(stage);
      await stage.allocatable(RESOURCE, 4);
      await ready(stage, "True");
      const since = microTime(Date.now());
      await stage.cluster.withFrozenApiServer(async () => {
        for (const hca of ["mlx5_0", "mlx5_3"]) {
          await stage.cluster.host.carrierLost(hca, 1);
          await offered(stage, hca, false);
        }
        await stage.cluster.host.portUp("mlx5_3", 1);
        await offered(stage, "mlx5_3", true);
      });
      const begun = performance.now();
      const condition = await ready(stage, "False", /^1 of 4 devices not healthy: mlx5_0: /);
      say(`the server is back → its condition is right after ${Math.round(performance.now() - begun)} ms`);
      equal(condition.reason, "DevicesUnhealthy");
      await event(stage, "RDMADeviceUnhealthy", "Node", NODE_NAME, "mlx5_0", since);
      await stage.cluster.host.portUp("mlx5_0", 1);
      await ready(stage, "True");
    },
  },
  {
    name: `reports: ${FLAPS} flaps of a link are one series, and all is well again after them`,
    since: 34,
    async play(stage) {
      const hca = "mlx5_2";
      const { changed } = await useReportsThatHear(stage);
      await stage.allocatable(RESOURCE, 4);
      await ready(stage, "True");
      const [pod] = await stage.pluginPods();
      const made = async (reason: string) =>
        (await events(stage, reason, "Node", NODE_NAME, hca))
          .filter((one) => one.reportingInstance === pod!.metadata.name);
      const written: NodeCondition[] = [];
      await using _ = followingNode(stage, (condition) => written.push(condition));
      const begun = performance.now();
      for (let i = 1; i <= FLAPS; i++) {
        await stage.cluster.host.carrierLost(hca, 1);
        changed(`${hca} lost its carrier, ${i} of ${FLAPS}`);
        await offered(stage, hca, false);
        await stage.cluster.host.portUp(hca, 1);
        changed(`${hca} has its carrier again`);
        await offered(stage, hca, true);
      }
      const seconds = ((performance.now() - begun) / 1e3).toFixed(1);
      const downs = await eventually(async () => {
        const found = await made("RDMADeviceUnhealthy");
        return found.some(({ series }) => (series?.count ?? 1) >= FLAPS) && found;
      }, `an event that counts ${FLAPS}`);
      deepEqual(downs.map(({ series }) => series?.count), [FLAPS]);
      // Steady again: half a minute without a change.
      await ready(stage, "True");
      await stage.allocatable(RESOURCE, 4);
      // It was back after the first time and the second, flapped from the third on, and is back for good.
      const ups = await eventually(async () => {
        const found = await made("RDMADeviceHealthy");
        return found.some(({ series }) => (series?.count ?? 1) >= 3) && found;
      }, "an event that says that it is back");
      deepEqual(ups.map(({ series }) => series?.count), [3]);
      say(`${FLAPS} flaps in ${seconds} s → one event that counts them; the condition changed ${written.length} times`);
      ok(written.length <= 7, JSON.stringify(written));
    },
  },
];

/** Waits until the kubelet counts a device as Healthy, or not: its checkpoint has those that are. */
async function offered(stage: Stage, device: string, healthy: boolean): Promise<void> {
  const path = stage.cluster.space.path("/var/lib/kubelet/device-plugins/kubelet_internal_checkpoint");
  await eventually(() => {
    const { Data } = JSON.parse(readFileSync(path, "utf8")) as {
      Data: { RegisteredDevices: Record<string, readonly string[] | null> };
    };
    return (Data.RegisteredDevices[RESOURCE] ?? []).includes(device) === healthy;
  }, `${device} to be ${healthy ? "Healthy" : "Unhealthy"} for the kubelet`);
}
