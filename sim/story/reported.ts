/**
 * What a plugin has reported to the API server: the node's condition, its labels, and events.
 *
 * @module
 */
import type { KubernetesEvent, LabelledNode } from "../../src/kubernetes/core_api.ts";
import { EVENTS, type FakeApiServer, NODES } from "../api_server/server.ts";
import type { Reported } from "./scenario.ts";

const TIMEOUT_MS = 20_000;

/** Waits for it to be so; gives lines for people. */
export async function reported(api: FakeApiServer, wanted: Reported): Promise<readonly string[]> {
  const node = () => api.store.list(NODES)[0] as unknown as LabelledNode;
  const condition = () => node().status?.conditions?.find((one) => one.type === "RDMAReady");
  const labels = () => node().metadata.labels ?? {};
  const message = new RegExp(wanted.message ?? "");
  await api.waitFor(
    () =>
      (wanted.ready === undefined || condition()?.status === wanted.ready) &&
      message.test(condition()?.message ?? "") &&
      Object.entries(wanted.labels ?? {}).every(([key, value]) => labels()[`rdma.tencent.com/${key}`] === value) &&
      Object.entries(wanted.events ?? {}).every(([what, times]) => timesOf(api, what) === times),
    `reports: ${JSON.stringify(wanted)}`,
    TIMEOUT_MS,
  );
  return [
    ...wanted.ready === undefined ? [] : [`RDMAReady ${condition()!.status}: ${condition()!.message}`],
    ...Object.keys(wanted.labels ?? {}).map((key) => `label ${key}=${labels()[`rdma.tencent.com/${key}`]}`),
    ...Object.keys(wanted.events ?? {}).map((what) => `event ${what}, ${timesOf(api, what)} time(s)`),
  ];
}

/** @param what "REASON Kind/name" */
function timesOf(api: FakeApiServer, what: string): number {
  const all = api.store.list(EVENTS) as unknown as readonly KubernetesEvent[];
  const found = all.filter(({ reason, regarding }) => `${reason} ${regarding.kind}/${regarding.name}` === what);
  return found.reduce((sum, one) => sum + (one.series?.count ?? 1), 0);
}
