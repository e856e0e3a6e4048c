/**
 * What the situations of events, condition and labels need besides the stage.
 *
 * @module
 */
import { Waits } from "../../sim/waits.ts";
import { Api, ApiError } from "../support/cluster/api.ts";
import { configPaths, NODE_NAME } from "../support/cluster/config_files.ts";
import { eventually } from "../support/eventually.ts";
import type { LabelledNode, NodeCondition } from "../../src/kubernetes/core_api.ts";
import type { Deployment } from "./deployment.ts";
import { RESOURCE } from "./host.ts";
import type { Stage } from "./stage.ts";

const DEPLOYMENTS = new WeakMap<Stage, Deployment>();
const ACCOUNT = "/api/v1/namespaces/kube-system/serviceaccounts/rdma-device-plugin";

/** Everything that reports, on this stage's cluster. It has no kube-proxy, so the plugin is given the server's address. */
export async function useReports(stage: Stage): Promise<void> {
  const made: Deployment = DEPLOYMENTS.get(stage) ?? {
    components: ["api-access", "pod-resources", "kubernetes-events", "node-labels", "nfd-features"],
    config: { resources: [{ name: RESOURCE, health: { settle: "0s" } }] },
    args: [serverFlag(stage)],
  };
  DEPLOYMENTS.set(stage, made);
  await stage.use(made);
}

export function serverFlag(stage: Stage): string {
  return `--kube-api=https://${stage.cluster.space.place.address}:6443`;
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
  const url = `https://${stage.cluster.space.place.address}:6443`;
  using api = new Api({ url, caFile: configPaths(stage.cluster.dir).ca, token: token.status.token });
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
