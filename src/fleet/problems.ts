/**
 * What is down on a node, for which reason, since when, and whose pods are on it. Several sources say it, each a part:
 * taints of slices (the device, the time), the node condition (the reason), events (both), the pods' status (the device),
 * the node's counts (that there is something). Pure.
 *
 * @module
 */
import type { DeviceFacts, EventFacts, NodeFacts, PodFacts } from "./facts.ts";
import { deviceKey, type Holding } from "./usage.ts";

export type ProblemKind = "device" | "node" | "plugin";

export interface Problem {
  readonly kind: ProblemKind;
  /** Names of HCAs, joined by commas or "+"; null when it is not known which, or is none's. */
  readonly hca: string | null;
  /** Resources that it is offered as, as far as is known. */
  readonly resources: readonly string[];
  readonly reason: string;
  /** ISO 8601; null when the cluster does not say. */
  readonly since: string | null;
  /** How often within the series of events; 1 where nothing says more. */
  readonly times: number;
  /** "namespace/name" */
  readonly pods: readonly string[];
  /** False when it is not known which device each of these pods has: they have one of the resource's. */
  readonly podsCertain: boolean;
}

/** What is known of one node. */
export interface NodeView {
  readonly name: string;
  readonly node: NodeFacts | null;
  /** Null when pods cannot be read. */
  readonly pods: readonly PodFacts[] | null;
  readonly pools: readonly { readonly pool: string; readonly devices: readonly DeviceFacts[] }[];
  readonly events: readonly EventFacts[];
  readonly held: ReadonlyMap<string, readonly Holding[]> | null;
}

/** A device that is not fit, while its sources are put together. */
interface Unfit {
  readonly hca: string | null;
  readonly resources: Set<string>;
  reason: string;
  since: string | null;
  times: number;
  /** Pods of claims. */
  readonly pods: string[];
}

const TAINT_REASONS: Readonly<Record<string, string>> = {
  "link-down": "its link is down",
  "no-device-node": "its device node is missing",
  gone: "it is gone",
  "counter-errors": "one of its error counters grows too fast",
};

/** All problems of a node: the node's own first, then the plugin's, then its devices'. */
export function problemsOf(view: NodeView): readonly Problem[] {
  const plain = { hca: null, resources: [], times: 1, pods: [], podsCertain: true } as const;
  const problems: Problem[] = [];
  const notReady = view.node?.notReady ?? null;
  if (notReady !== null) {
    problems.push({
      ...plain,
      kind: "node",
      reason: `the node is not Ready: ${notReady.reason}`,
      since: notReady.since,
    });
  }
  const plugins = (view.pods ?? []).filter((one) => one.plugin !== null);
  if (plugins.length > 0 && plugins.every((one) => !one.plugin!.ready)) {
    problems.push({
      ...plain,
      kind: "plugin",
      reason: `the plugin's pod ${plugins[0]!.pod} is not Ready`,
      since: null,
    });
  }
  for (const one of unfitDevices(view)) {
    const { pods, podsCertain } = podsOn(view, one);
    problems.push({ kind: "device", ...one, resources: [...one.resources], pods, podsCertain });
  }
  return problems;
}

function unfitDevices(view: NodeView): readonly Unfit[] {
  const found = new Map<string, Unfit>();
  const add = (hca: string | null, resource: string | null, reason: string, since: string | null): Unfit => {
    const key = hca ?? `of ${resource}`;
    const one = found.get(key) ?? { hca, resources: new Set(), reason, since, times: 1, pods: [] };
    found.set(key, one);
    if (resource !== null) one.resources.add(resource);
    one.since ??= since;
    return one;
  };
  for (const { pool, devices } of view.pools) {
    for (const { name, hca, resource, taint } of devices) {
      if (taint === null) continue;
      const one = add(hca, resource, TAINT_REASONS[taint.key] ?? taint.key, taint.since);
      for (const { pods } of view.held?.get(deviceKey(pool, name)) ?? []) one.pods.push(...pods);
    }
  }
  const tainted = new Set(found.keys());
  const condition = view.node?.condition ?? null;
  for (const { hca, reason } of condition === null || condition.ready ? [] : namedIn(condition.message)) {
    const one = add(hca, null, reason, condition!.since);
    one.reason = reason;
  }
  for (const { resource, id, healthy } of (view.pods ?? []).flatMap((one) => one.devices)) {
    const hca = healthy ? null : hcaOf(id);
    if (hca !== null) add(hca, resource, "the kubelet reports it as Unhealthy", null);
  }
  for (const { name, capacity, allocatable } of countedOut(view)) {
    for (const event of view.events) {
      if (event.resource === name && !event.healthy) add(event.hca, name, event.reason, event.time);
    }
    // What has no resource yet may be of this one.
    if ([...found.values()].some(({ resources }) => resources.has(name) || resources.size === 0)) continue;
    add(null, name, `${capacity - allocatable} of ${capacity} devices are not allocatable`, null);
  }
  // An event knows the reason and the time of the one device. A taint's time is as good.
  for (const event of view.events) {
    const one = found.get(event.hca);
    if (one === undefined || event.healthy) continue;
    one.resources.add(event.resource);
    one.reason = event.reason;
    one.times = event.count;
    if (!tainted.has(event.hca)) one.since = event.time;
  }
  return [...found.values()];
}

/**
 * Resources of which not every device is allocatable. Where the plugin says that all are fit and runs, a claim has the
 * others: the kubelet's list calls those Unhealthy.
 */
function countedOut({ node, pods }: NodeView): NodeFacts["resources"] {
  if (node === null) return [];
  const runs = pods === null || pods.some((one) => one.plugin?.ready === true);
  if (node.condition?.ready === true && runs) return [];
  return node.resources.filter((one) => one.allocatable < one.capacity);
}

/** "1 of 4 devices not healthy: mlx5_1: port 1 is DOWN (Polling); mlx5_2: …", as the plugin writes it. */
const DEVICES = /^\d+ of \d+ devices? not healthy: (.*)$/s;

function namedIn(message: string): readonly { readonly hca: string | null; readonly reason: string }[] {
  const list = DEVICES.exec(message)?.[1];
  if (list === undefined) return [{ hca: null, reason: message }];
  return list.split("; ").map((part) => {
    const [, hca = null, reason = part] = /^([^\s:]+): (.*)$/s.exec(part) ?? [];
    return { hca, reason };
  });
}

/** The HCA that a device ID of the device plugin names: "mlx5_1", or "mlx5_1::3" for a share of it; else null. */
function hcaOf(id: string): string | null {
  const name = id.split("::")[0]!;
  return /^\d+$/.test(name) || name.includes("/") || /^[0-9a-f]{4,}:[0-9a-f]{2}:/.test(name) ? null : name;
}

function podsOn(view: NodeView, one: Unfit): Pick<Problem, "pods" | "podsCertain"> {
  const certain = new Set(one.pods);
  const perhaps = new Set<string>();
  for (const { pod, devices, requests } of view.pods ?? []) {
    if (one.hca !== null && devices.some(({ id }) => hcaOf(id) === one.hca)) certain.add(pod);
    const asked = Object.keys(requests).filter((name) => one.resources.size === 0 || one.resources.has(name));
    // Of these it is not known which adapter each device stands for.
    const unknown = asked.filter((name) => {
      const reported = devices.filter(({ resource }) => resource === name);
      return one.hca === null || reported.length === 0 || reported.some(({ id }) => hcaOf(id) === null);
    });
    if (unknown.length > 0) perhaps.add(pod);
  }
  return certain.size > 0 || perhaps.size === 0
    ? { pods: [...certain], podsCertain: true }
    : { pods: [...perhaps], podsCertain: false };
}
