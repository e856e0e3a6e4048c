/**
 * From facts to one row per node. Pure.
 *
 * @module
 */
import { natural } from "../text/natural.ts";
import type { DeviceFacts, EventFacts, FleetFacts, NodeFacts, PluginFacts, PodFacts, SliceFacts } from "./facts.ts";
import { type NodeView, type Problem, problemsOf } from "./problems.ts";
import { deviceKey, draUse, type Holding, holdings, pluginUse, type ResourceUse } from "./usage.ts";

export interface NodeRow {
  readonly name: string;
  /** Adapters that are in a resource; null when nothing says how many. */
  readonly hcas: number | null;
  readonly ports: { readonly active: number | null; readonly all: number | null };
  /** Of the slowest and the fastest adapter, as far as is known. */
  readonly rateGbps: { readonly least: number; readonly most: number } | null;
  /** HCAs by firmware version; by its family, with the node's whole number, where only the node's label says it. */
  readonly firmware: Readonly<Record<string, number>>;
  readonly resources: readonly ResourceUse[];
  readonly problems: readonly Problem[];
  /** Pods that have devices. */
  readonly pods: readonly string[];
  readonly plugins: readonly PluginFacts[];
}

export interface Fleet {
  /** Nodes that have something of RDMA, in natural order. */
  readonly rows: readonly NodeRow[];
  /** How many nodes have nothing. */
  readonly without: number;
}

/** What belongs to one node, while it is collected. */
interface Parts {
  node: NodeFacts | null;
  readonly pods: PodFacts[];
  readonly slices: SliceFacts[];
  readonly events: Map<string, EventFacts>;
}

/**
 * @param onlyKnown whether nodes that are not among the node objects are left out, because those were selected
 * @param matches whether a node's name is meant
 */
export function fleetOf(facts: FleetFacts, onlyKnown: boolean, matches: (name: string) => boolean): Fleet {
  const parts = new Map<string, Parts>();
  const partsOf = (name: string, known = false): Parts | null => {
    const there = parts.get(name);
    if (there !== undefined || (onlyKnown && !known) || !matches(name)) return there ?? null;
    const made: Parts = { node: null, pods: [], slices: [], events: new Map() };
    parts.set(name, made);
    return made;
  };
  for (const node of facts.nodes) {
    const of = partsOf(node.name, true);
    if (of !== null) of.node = node;
  }
  for (const pod of facts.pods) partsOf(pod.node)?.pods.push(pod);
  for (const slice of facts.slices) partsOf(slice.node)?.slices.push(slice);
  for (const event of facts.events) addLast(parts.get(event.node)?.events, event);
  const held = facts.known.claims ? holdings(facts.claims) : null;
  const rows = [...parts].flatMap(([name, one]) => rowOf(name, one, held, facts.known.pods) ?? []);
  return { rows: rows.sort((a, b) => natural(a.name, b.name)), without: parts.size - rows.length };
}

/** Of a device's events the last one counts. */
function addLast(events: Map<string, EventFacts> | undefined, event: EventFacts): void {
  const key = `${event.resource} ${event.hca}`;
  const known = events?.get(key);
  if (known === undefined || Date.parse(known.time) <= Date.parse(event.time)) events?.set(key, event);
}

/** Null for a node without anything of RDMA. */
function rowOf(
  name: string,
  { node, pods, slices, events }: Parts,
  held: ReadonlyMap<string, readonly Holding[]> | null,
  podsKnown: boolean,
): NodeRow | null {
  const plugins = pods.flatMap((one) => one.plugin ?? []);
  const labels = node?.labels ?? {};
  const resources = node?.resources ?? [];
  const nothing = resources.length + slices.length === 0 && labels.hcas === undefined &&
    (node?.condition ?? null) === null;
  // The plugin runs on nodes without adapters, too. Without the node object the pods alone tell of adapters.
  const asked = node === null && pods.some((one) => Object.keys(one.requests).length > 0);
  if (nothing && !asked && plugins.every((one) => one.ready)) return null;
  const pools = newest(slices);
  const view: NodeView = { name, node, pods: podsKnown ? pods : null, pools, events: [...events.values()], held };
  const devices = pools.flatMap((one) => one.devices);
  return {
    name,
    hcas: hcasOf(labels, devices, resources.length > 0),
    ports: portsOf(labels, devices, resources.length > 0),
    rateGbps: ratesOf(labels, devices),
    firmware: firmwareOf(labels, devices),
    resources: [
      ...node === null ? [] : pluginUse(node, view.pods),
      ...pools.flatMap(({ pool, devices: own }) => draUse(pool, own, held)),
    ],
    problems: problemsOf(view),
    pods: podsOf(view),
    plugins,
  };
}

/** The slices of each pool's newest generation: others are about to be deleted. */
function newest(slices: readonly SliceFacts[]): NodeView["pools"] {
  const pools = new Map<string, { generation: number; devices: DeviceFacts[] }>();
  for (const { pool, generation, devices } of slices) {
    const known = pools.get(pool);
    if (known === undefined || known.generation < generation) pools.set(pool, { generation, devices: [...devices] });
    else if (known.generation === generation) known.devices.push(...devices);
  }
  return [...pools].map(([pool, { devices }]) => ({ pool, devices }));
}

function hcasOf(labels: NodeFacts["labels"], devices: readonly DeviceFacts[], others: boolean): number | null {
  const labelled = numberIn(labels.hcas);
  if (labelled !== null) return labelled;
  // Slices do not know of adapters that are in resources of the device plugin.
  return devices.length === 0 || others ? null : new Set(devices.map((one) => one.hca)).size;
}

function portsOf(labels: NodeFacts["labels"], devices: readonly DeviceFacts[], others: boolean): NodeRow["ports"] {
  const labelled = { active: numberIn(labels["ports-active"]), all: numberIn(labels.ports) };
  if (devices.length === 0 || others || devices.some((one) => one.ports === null)) return labelled;
  const sum = (some: readonly DeviceFacts[]) => some.reduce((ports, one) => ports + one.ports!, 0);
  return {
    active: labelled.active ?? sum(devices.filter((one) => one.taint === null)),
    all: labelled.all ?? sum(devices),
  };
}

function ratesOf(labels: NodeFacts["labels"], devices: readonly DeviceFacts[]): NodeRow["rateGbps"] {
  const labelled = numberIn(labels["rate-gbps"]);
  const rates = [...devices.flatMap((one) => one.rateGbps ?? []), ...labelled === null ? [] : [labelled]];
  return rates.length === 0 ? null : { least: Math.min(...rates), most: Math.max(...rates) };
}

function firmwareOf(labels: NodeFacts["labels"], devices: readonly DeviceFacts[]): Readonly<Record<string, number>> {
  const found: Record<string, number> = {};
  const seen = new Set<string>();
  for (const { hca, firmware } of devices) {
    if (firmware === null || seen.has(hca)) continue;
    seen.add(hca);
    found[firmware] = (found[firmware] ?? 0) + 1;
  }
  if (seen.size > 0) return found;
  const families = labels.firmware?.split("_") ?? [];
  // Of several families the label does not say how many adapters have which.
  return Object.fromEntries(families.map((one) => [one, families.length === 1 ? numberIn(labels.hcas) ?? 1 : 1]));
}

function numberIn(label: string | undefined): number | null {
  return label !== undefined && /^\d+(\.\d+)?$/.test(label) ? Number(label) : null;
}

function podsOf({ pods, pools, held }: NodeView): readonly string[] {
  const found = new Set((pods ?? []).filter((one) => Object.keys(one.requests).length > 0).map((one) => one.pod));
  for (const { pool, devices } of pools) {
    for (const { name } of devices) {
      for (const holding of held?.get(deviceKey(pool, name)) ?? []) for (const pod of holding.pods) found.add(pod);
    }
  }
  return [...found];
}
