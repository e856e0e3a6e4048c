/**
 * Content of the status page as plain values: the machine as NUMA nodes, PCIe roots, HCAs and ports, and the resources.
 * Pure; `/state.json` is this value, and the page shows it as HTML.
 *
 * @module
 */
import type { Inventory } from "../agent/inventory.ts";
import type { AgentState } from "../agent/observer.ts";
import { natural } from "../text/natural.ts";
import type { Hca, Port } from "../hca/types.ts";
import type { PodsAnswer } from "../kubelet/pod_resources.ts";
import type { SessionStatus } from "../device_plugin/session.ts";
import { devices, membersOf } from "../pool/devices.ts";
import { ruleText, type WatchedCounter } from "../pool/errors.ts";
import type { UnhealthyCode } from "../pool/reasons.ts";
import type { LeftOut } from "../pool/select.ts";
import type { DeviceState, PoolState } from "../pool/states.ts";
import { unready } from "./readiness.ts";

/** State of an HCA: a word, a colour and a shape on the page. */
export type Verdict =
  /** All its devices are Healthy. */
  | "healthy"
  /** Healthy in one resource and Unhealthy in another. */
  | "mixed"
  /** None of its devices is Healthy. */
  | "unhealthy"
  /** In no resource. */
  | "left out"
  /** Removed; its grace time has not ended. */
  | "gone"
  /** In a pod's network namespace. */
  | "in a pod";

/** One HCA on the page. */
export interface HcaView {
  readonly name: string;
  readonly verdict: Verdict;
  /** Reasons why it is not healthy. */
  readonly reasons: readonly string[];
  readonly pci: string | null;
  readonly physfn: string | null;
  readonly driver: string | null;
  readonly kind: Hca["kind"];
  readonly transport: Hca["transport"];
  readonly firmware: string | null;
  readonly nodeGuid: string | null;
  readonly uverbs: string | null;
  readonly netdevs: readonly string[];
  readonly ports: readonly Pick<Port, "number" | "state" | "physState" | "linkLayer" | "rate">[];
  readonly resources: readonly string[];
  readonly leftOut: readonly Omit<LeftOut, "hca">[];
  /** "namespace/pod (container)", without duplicates. */
  readonly pods: readonly string[];
  /** The counters that have error rules, with their errors in the window. */
  readonly errors: readonly {
    readonly counter: string;
    readonly port: number | null;
    readonly count: number;
    /** "5 per 10m" */
    readonly rule: string;
    readonly exceeded: boolean;
  }[];
  readonly notes: readonly string[];
}

/** A PCIe root, the software HCAs, or the HCAs without a known root. */
export interface RootView {
  readonly root: string | null;
  readonly hcas: readonly HcaView[];
}

export interface NumaView {
  /** null when the kernel gives none. */
  readonly node: number | null;
  readonly roots: readonly RootView[];
}

export interface DeviceView {
  readonly id: string;
  readonly healthy: boolean;
  /** Codes of the reasons why it is not healthy; empty when it is. */
  readonly codes: readonly UnhealthyCode[];
  readonly reason: string;
  readonly numaNodes: readonly number[];
  readonly pods: readonly string[];
}

export interface ResourceView {
  readonly name: string;
  /** "exclusive", "shared, 8 of all", "shared, 8 of one". */
  readonly mode: string;
  readonly session: SessionStatus | null;
  readonly healthy: number;
  readonly total: number;
  /** Devices that containers hold; null when not known. */
  readonly inUse: number | null;
  readonly devices: readonly DeviceView[];
}

/** The content of the page. */
export interface StatusModel {
  readonly node: string;
  readonly version: string;
  /** Reasons why the plugin is not ready; empty when it is. */
  readonly unready: readonly string[];
  readonly resources: readonly ResourceView[];
  readonly numa: readonly NumaView[];
  /** Notes about the whole machine. */
  readonly notes: readonly string[];
  /** Why pods are not known; null when they are, or when they are not requested. */
  readonly podsReason: string | null;
  /** Newest first. */
  readonly changes: readonly (Omit<AgentState["changes"][number], "time"> & { readonly time: string })[];
}

/** Builds the model; `state` is null before the first scan has ended, `pods` without --pod-resources. */
export function statusModel(
  state: AgentState | null,
  pods: PodsAnswer | null,
  about: { readonly node: string; readonly version: string },
): StatusModel {
  const { inventory = null, sessions = [], changes = [] } = state ?? {};
  const { snapshot, states } = inventory ?? { snapshot: null, states: new Map<string, PoolState>() };
  const holders = pods?.ok ? pods.holders : new Map();
  const resources = [...states.values()].map((poolState): ResourceView => {
    const held = holders.get(poolState.spec.name) ?? new Map();
    const all = devices(poolState);
    return {
      name: poolState.spec.name,
      mode: modeOf(poolState),
      session: sessions.find((one) => one.resource === poolState.spec.name) ?? null,
      healthy: all.filter((one) => one.healthy).length,
      total: all.length,
      inUse: pods?.ok ? held.size : null,
      devices: all.map((one) => {
        const bad = one.healthy ? [] : membersOf(poolState, one.id) ?? [];
        return {
          ...one,
          codes: [...new Set(bad.flatMap(({ code }) => code ?? []))],
          reason: reasons(bad).join("; "),
          pods: (held.get(one.id) ?? []).map(podName),
        };
      }),
    };
  });
  return {
    node: about.node,
    version: about.version,
    unready: unready(state?.sessions ?? null),
    resources,
    numa: inventory === null ? [] : drawing(inventory, holders, state?.errors?.watched ?? []),
    notes: [
      ...snapshot?.notes ?? [],
      ...(snapshot?.unreadable ?? []).map(({ name, reason }) => `${name} could not be read: ${reason}`),
    ],
    podsReason: pods === null || pods.ok ? null : pods.reason,
    changes: changes.map((one) => ({ ...one, time: new Date(one.time).toISOString() })).reverse(),
  };
}

type Holders = Extract<PodsAnswer, { ok: true }>["holders"];

/** Facts about one HCA besides its hardware. */
interface Role {
  readonly resources: Set<string>;
  readonly deviceStates: DeviceState[];
  readonly pods: Set<string>;
}

/** HCAs by NUMA node and PCIe root, including removed ones and those in a pod. */
function drawing(inventory: Inventory, holders: Holders, watched: readonly WatchedCounter[]): readonly NumaView[] {
  const roles = rolesOf(inventory, holders);
  const here = [...inventory.snapshot.hcas, ...inventory.snapshot.inPodNetns];
  const names = new Set(here.map((hca) => hca.name));
  const deviceStates = [...inventory.states.values()].flatMap((poolState) => [...poolState.deviceStates.values()]);
  const away = deviceStates.flatMap(({ member }) => member.hcas).filter((hca) => !names.has(hca.name));
  const all = [...here, ...new Map(away.map((hca) => [hca.name, hca])).values()];
  const byNode = groups(all, (hca) => hca.pci?.numaNode ?? null);
  return [...byNode].sort(([a], [b]) => (a ?? Infinity) - (b ?? Infinity)).map(([node, ofNode]) => ({
    node,
    roots: [...groups(ofNode, (hca) => hca.pci?.path[0] ?? null)]
      .sort(([a], [b]) => a === null ? 1 : b === null ? -1 : natural(a, b))
      .map(([root, hcas]) => ({
        root,
        hcas: hcas.toSorted((a, b) => natural(a.name, b.name)).map((hca) =>
          view(hca, inventory, roles.get(hca.name), watched)
        ),
      })),
  }));
}

/** Roles by HCA name for all HCAs that are in a resource. */
function rolesOf(inventory: Inventory, holders: Holders): ReadonlyMap<string, Role> {
  const roles = new Map<string, Role>();
  const role = (hca: Hca): Role => {
    const one = roles.get(hca.name) ?? { resources: new Set(), deviceStates: [], pods: new Set() };
    roles.set(hca.name, one);
    return one;
  };
  for (const [resource, poolState] of inventory.states) {
    for (const deviceState of poolState.deviceStates.values()) {
      for (const hca of deviceState.member.hcas) {
        role(hca).resources.add(resource);
        role(hca).deviceStates.push(deviceState);
      }
    }
    for (const [device, containers] of holders.get(resource) ?? []) {
      const hcas = membersOf(poolState, device)?.flatMap(({ member }) => member.hcas) ?? [];
      for (const hca of hcas) containers.forEach((one) => role(hca).pods.add(podName(one)));
    }
  }
  return roles;
}

function view(
  hca: Hca,
  inventory: Inventory,
  role: Role | undefined,
  watched: readonly WatchedCounter[],
): HcaView {
  const deviceStates = role?.deviceStates ?? [];
  return {
    name: hca.name,
    verdict: verdict(deviceStates),
    reasons: reasons(deviceStates),
    pci: hca.pci?.address ?? null,
    physfn: hca.pci?.physfn ?? null,
    driver: hca.pci?.driver ?? null,
    kind: hca.kind,
    transport: hca.transport,
    firmware: hca.firmware,
    nodeGuid: hca.nodeGuid,
    uverbs: hca.uverbs?.name ?? null,
    netdevs: hca.netdevs,
    ports: hca.ports.map(({ number, state, physState, linkLayer, rate }) => ({
      number,
      state,
      physState,
      linkLayer,
      rate,
    })),
    resources: [...role?.resources ?? []],
    leftOut: inventory.leftOut.filter((one) => one.hca === hca.name).map(({ hca: _, ...rest }) => rest),
    pods: [...role?.pods ?? []].sort(natural),
    errors: watched.filter((one) => one.hca === hca.name).map(({ rule, port, count, exceeded }) => ({
      counter: rule.counter,
      port,
      count,
      rule: ruleText(rule),
      exceeded: exceeded !== null,
    })),
    notes: hca.notes,
  };
}

function verdict(deviceStates: readonly DeviceState[]): Verdict {
  if (deviceStates.length === 0) return "left out";
  if (deviceStates.every((one) => !one.present)) return "gone";
  if (deviceStates.every((one) => one.member.inPodNetns && one.healthy)) return "in a pod";
  const healthy = deviceStates.filter((one) => one.healthy).length;
  return healthy === deviceStates.length ? "healthy" : healthy === 0 ? "unhealthy" : "mixed";
}

/** Groups elements by key, in the order of their first elements. */
function groups<T, Key>(all: readonly T[], keyOf: (one: T) => Key): ReadonlyMap<Key, readonly T[]> {
  const found = new Map<Key, T[]>();
  for (const one of all) {
    const group = found.get(keyOf(one));
    if (group === undefined) found.set(keyOf(one), [one]);
    else group.push(one);
  }
  return found;
}

function reasons(deviceStates: readonly DeviceState[]): readonly string[] {
  return [...new Set(deviceStates.map((one) => one.reason))].filter((reason) => reason !== "");
}

function podName(holder: { namespace: string; pod: string; container: string }): string {
  return `${holder.namespace}/${holder.pod} (${holder.container})`;
}

function modeOf({ spec: { mode } }: PoolState): string {
  return mode.kind === "exclusive" ? "exclusive" : `shared, ${mode.shares} ${mode.of === "all" ? "of all" : "per HCA"}`;
}
