/**
 * What the situations of events, condition and labels need besides the stage.
 *
 * @module
 */
import { appendFileSync } from "node:fs";
import { join } from "node:path";
import { Waits } from "../../sim/waits.ts";
import { Api, ApiError } from "../support/cluster/api.ts";
import { configPaths, NODE_NAME } from "../support/cluster/config_files.ts";
import { eventually } from "../support/eventually.ts";
import type { KubeObject } from "../support/cluster/objects.ts";
import {
  EVENTS_API,
  type KubernetesEvent,
  type LabelledNode,
  type NodeCondition,
} from "../../src/kubernetes/core_api.ts";
import type { Deployment } from "./deployment.ts";
import { RESOURCE } from "./host.ts";
import type { Stage } from "./stage.ts";

const REPORTING: Deployment = {
  components: ["api-access", "pod-resources", "kubernetes-events", "node-labels", "nfd-features"],
  config: { resources: [{ name: RESOURCE, health: { settle: "0s" } }] },
};

/** In the machine's sysfs, which the plugin's pod has already. */
const CHANGES_FILE = "link-changes";

/**
 * As `REPORTING`, but that each line in a file makes the plugin scan at once, as in the host's network each message of the
 * kernel about a link does; otherwise it would find a change by its next poll, within a second. Nothing else differs: what
 * is written of what it finds, and how often at most, is as by default, and no flag changes it.
 */
const HEARING: Deployment = { ...REPORTING, args: [`--events=/host/sys/${CHANGES_FILE}`] };

const NODE = `/api/v1/nodes/${NODE_NAME}`;
const FEATURE_FILE = "/etc/kubernetes/node-feature-discovery/features.d/rdma-device-plugin";
const ACCOUNT = "/api/v1/namespaces/kube-system/serviceaccounts/rdma-device-plugin";

/** Everything that reports; a device that is fit again is Healthy at once. */
export async function useReports(stage: Stage): Promise<void> {
  await stage.use(REPORTING);
}

/** The same, of a plugin that learns of links at once when `change` is told so. */
export async function useReportsThatHear(stage: Stage): Promise<{ readonly changed: (what: string) => void }> {
  const file = join(stage.cluster.host.sysfsRoot, CHANGES_FILE);
  await stage.use(HEARING);
  return { changed: (what) => appendFileSync(file, `${what}\n`) };
}

/** Waits until the condition has that status. */
export function ready(stage: Stage, status: "True" | "False", message = /^/): Promise<NodeCondition> {
  return stage.cluster.api.until<StoredNode, NodeCondition>(
    NODE,
    (node) =>
      node?.status?.conditions?.find((one) =>
        one.type === "RDMAReady" && one.status === status && message.test(one.message ?? "")
      ),
    `RDMAReady ${status} ${message}`,
    90_000,
  );
}

export async function labels(stage: Stage, key: string, value: string): Promise<void> {
  await stage.cluster.api.until<StoredNode, boolean>(
    NODE,
    (node) => node?.metadata.labels?.[key] === value,
    `${key}=${value}`,
    60_000,
  );
}

type StoredNode = LabelledNode & KubeObject;
type StoredEvent = KubernetesEvent & KubeObject;

/** The events of that reason about an object, that tell of an HCA. */
export async function events(
  stage: Stage,
  reason: string,
  kind: string,
  name: string,
  hca: string,
): Promise<readonly StoredEvent[]> {
  const { items } = await stage.cluster.api.list<StoredEvent>(`/apis/${EVENTS_API}/events`);
  return items.filter((one) =>
    one.reason === reason && one.regarding.kind === kind && one.regarding.name === name &&
    one.note.startsWith(`${hca} `)
  );
}

/** @param since when it happened at the earliest, also as a repeat */
export function event(
  stage: Stage,
  reason: string,
  kind: string,
  name: string,
  hca: string,
  since = "",
): Promise<StoredEvent> {
  return eventually(
    async () =>
      (await events(stage, reason, kind, name, hca))
        .find((one) => (one.series?.lastObservedTime ?? one.eventTime) >= since),
    `${reason} of ${hca} on ${kind} ${name}`,
  );
}

/** What node-feature-discovery's worker would read; empty when there is no such file. */
export function features(stage: Stage): string {
  return stage.cluster.space.run(["cat", FEATURE_FILE], { tolerant: true });
}

/** As on a node that no plugin has reported of before. */
export async function forgetReports(stage: Stage): Promise<void> {
  const { api, space } = stage.cluster;
  const node = await api.get<StoredNode>(NODE);
  const keys = Object.keys(node.metadata.labels ?? {}).filter((key) => key.startsWith("rdma.tencent.com/"));
  await api.patch(NODE, { metadata: { labels: Object.fromEntries(keys.map((key) => [key, null])) } });
  await api.patch(`${NODE}/status`, { status: { conditions: [{ type: "RDMAReady", $patch: "delete" }] } });
  space.run(["rm", "-f", FEATURE_FILE]);
}

/** A request with the token that the plugin's pod has; gives "METHOD path" of those that were refused. */
export async function refusals(
  stage: Stage,
  requests: readonly (readonly [method: string, path: string, body?: object])[],
): Promise<readonly string[]> {
  const [pod] = await stage.pluginPods();
  const { name, uid } = pod!.metadata;
  const token = await stage.cluster.api.ask<{ status: { token: string } }>("POST", `${ACCOUNT}/token`, {
    body: { spec: { expirationSeconds: 600, boundObjectRef: { apiVersion: "v1", kind: "Pod", name, uid } } },
  });
  using api = new Api({ url: stage.cluster.url, caFile: configPaths(stage.cluster.dir).ca, token: token.status.token });
  const refused: string[] = [];
  for (const [method, path, body] of requests) {
    try {
      const type = method === "PATCH" ? "application/strategic-merge-patch+json" : "application/json";
      await api.ask(method, path, { type, ...body === undefined ? {} : { body } });
    } catch (error) {
      // 403 by RBAC, 422 by the admission policy.
      if (!(error instanceof ApiError) || ![403, 422].includes(error.status)) throw error;
      refused.push(`${method} ${path}`);
    }
  }
  return refused;
}

/** Requests of the plugin's account are a flow of their own, which the server counts. */
export const FLOW = {
  path: "/apis/flowcontrol.apiserver.k8s.io/v1/flowschemas",
  object: {
    apiVersion: "flowcontrol.apiserver.k8s.io/v1",
    kind: "FlowSchema",
    metadata: { name: "rdma-device-plugin" },
    spec: {
      priorityLevelConfiguration: { name: "workload-low" },
      matchingPrecedence: 100,
      rules: [{
        subjects: [{
          kind: "ServiceAccount",
          serviceAccount: { namespace: "kube-system", name: "rdma-device-plugin" },
        }],
        resourceRules: [{
          verbs: ["*"],
          apiGroups: ["*"],
          resources: ["*"],
          namespaces: ["*"],
          clusterScope: true,
        }],
      }],
    },
  },
} as const;

/** Requests of the plugin's account so far, once that many are as wanted. */
export async function requestsOf(stage: Stage, wanted: (count: number) => boolean = () => true): Promise<number> {
  let count = 0;
  return await eventually(
    async () => {
      const text = await stage.cluster.api.text("/metrics");
      const lines = text.split("\n").filter((line) =>
        line.startsWith("apiserver_flowcontrol_dispatched_requests_total{") &&
        line.includes(`flow_schema="${FLOW.object.metadata.name}"`)
      );
      count = lines.reduce((sum, line) => sum + Number(line.split(" ").at(-1)), 0);
      if (wanted(count)) return count;
      // A new flow is taken up within some seconds; until then the requests are counted elsewhere.
      await refusals(stage, [["GET", `/api/v1/nodes/${NODE_NAME}`]]);
      return null;
    },
    () => `requests of the plugin; the server counts ${count}`,
    { timeoutMs: 30_000, everyMs: 500 },
  );
}

export interface Following extends AsyncDisposable {
  /** Resolves when a condition has a status. */
  until(type: string, status: string): Promise<NodeCondition>;
}

/** Follows the condition RDMAReady of the node from now on; `onChange` gets each that differs from the one before. */
export function followingNode(stage: Stage, onChange: (condition: NodeCondition) => void = () => {}): Following {
  const stop = new AbortController();
  const waits = new Waits();
  let node: LabelledNode | null = null;
  let last = "";
  const following = (async () => {
    for await (const now of stage.followNode(stop.signal)) {
      node = now as unknown as LabelledNode;
      const condition = node.status?.conditions?.find((one) => one.type === "RDMAReady");
      const text = `${condition?.status} ${condition?.message}`;
      if (condition !== undefined && last !== "" && text !== last) onChange(condition);
      last = text;
      waits.changed();
    }
  })().catch((error: unknown) => {
    if (!stop.signal.aborted) throw error;
  });
  return {
    until: (type, status) =>
      waits.until(
        () => node?.status?.conditions?.find((one) => one.type === type && one.status === status),
        `${type} ${status}`,
        30_000,
      ),
    [Symbol.asyncDispose]: async () => {
      stop.abort();
      await following;
    },
  };
}
