/**
 * From objects of the API to the facts that are kept of them. Pure, but for a memory of texts: a fleet has the same
 * firmware and resource names thousands of times.
 *
 * @module
 */
import type { ClaimedDevice, ClaimFacts, DeviceFacts, EventFacts, NodeFacts, PodFacts, SliceFacts } from "./facts.ts";
import type { ApiClaim, ApiDevice, ApiEvent, ApiNode, ApiPod, ApiSlice, Conditions } from "./objects.ts";
import { heldDevices, pluginOf, requestsOf } from "./pods.ts";
import { count } from "../kubernetes/quantity.ts";

export const CONDITION = "RDMAReady";
/** Domain of the plugin's labels and taints. */
export const DOMAIN = "rdma.tencent.com/";
/** Taints of devices that are not fit; others say that a device is in use. */
const UNFIT = new Set(["link-down", "no-device-node", "gone", "counter-errors"]);

export interface Keepers {
  readonly node: (node: ApiNode) => NodeFacts;
  /** Null for a pod that has nothing to do with RDMA. */
  readonly pod: (pod: ApiPod) => PodFacts | null;
  readonly slice: (slice: ApiSlice) => SliceFacts | null;
  readonly claim: (claim: ApiClaim) => ClaimFacts | null;
  readonly event: (event: ApiEvent) => EventFacts | null;
}

/** Which resources are meant. */
export interface Wanted {
  /** Of all that nodes offer and pods ask for, GPUs included. */
  readonly counted: (resource: string) => boolean;
  /** Of those that the plugin itself names, in slices and events. */
  readonly own: (resource: string) => boolean;
}

/** @param driver name of the DRA driver */
export function keepers(driver: string, { counted, own }: Wanted): Keepers {
  const texts = new Map<string, string>();
  const same = (text: string): string => {
    const known = texts.get(text);
    if (known === undefined) texts.set(text, text);
    return known ?? text;
  };
  const optional = (text: string | undefined) => text === undefined ? null : same(text);

  const device = ({ name, attributes = {}, capacity, taints, allowMultipleAllocations }: ApiDevice): DeviceFacts => {
    const unfit = taints?.find(({ key }) => key.startsWith(DOMAIN) && UNFIT.has(key.slice(DOMAIN.length)));
    return {
      name: same(name),
      resource: same(attributes.resource?.string ?? driver),
      hca: same(attributes.rdmaDevice?.string ?? name),
      ports: attributes.ports?.int ?? null,
      rateGbps: attributes.rateGbps?.int ?? null,
      firmware: optional(attributes.firmware?.string),
      shares: allowMultipleAllocations ? count(capacity?.shares?.value ?? 1) : 1,
      taint: unfit === undefined ? null : {
        key: same(unfit.key.slice(DOMAIN.length)),
        blocks: unfit.effect !== "None",
        since: unfit.timeAdded ?? null,
      },
    };
  };

  return {
    node: ({ metadata, status = {} }) => {
      const { capacity = {}, allocatable = {}, conditions } = status;
      return {
        name: same(metadata.name ?? ""),
        notReady: notReady(conditions),
        condition: rdmaCondition(conditions),
        resources: Object.keys(capacity).filter(counted).map((name) => ({
          name: same(name),
          capacity: count(capacity[name]),
          allocatable: count(allocatable[name]),
        })),
        labels: Object.fromEntries(
          Object.entries(metadata.labels ?? {}).filter(([key]) => key.startsWith(DOMAIN))
            .map(([key, value]) => [same(key.slice(DOMAIN.length)), same(value)]),
        ),
      };
    },
    pod: ({ metadata, spec = {}, status = {} }) => {
      const plugin = pluginOf({ metadata, spec, status });
      const requests = requestsOf(spec, counted);
      const devices = heldDevices(status, driver, counted);
      if (plugin === null && devices.length === 0 && Object.keys(requests).length === 0) return null;
      if (spec.nodeName === undefined || status.phase === "Succeeded" || status.phase === "Failed") return null;
      return {
        pod: `${metadata.namespace}/${metadata.name}`,
        node: same(spec.nodeName),
        requests,
        devices: devices.map((one) => ({ ...one, resource: same(one.resource), id: same(one.id) })),
        plugin: plugin === null ? null : { ...plugin, version: same(plugin.version) },
      };
    },
    slice: ({ spec }) => {
      if (spec.driver !== driver || spec.nodeName === undefined) return null;
      const devices = (spec.devices ?? []).map(device).filter((one) => own(one.resource));
      return { node: same(spec.nodeName), pool: same(spec.pool.name), generation: spec.pool.generation, devices };
    },
    claim: ({ metadata, status }) => {
      const devices = (status?.allocation?.devices?.results ?? []).filter((one) => one.driver === driver)
        .map(({ pool, device, consumedCapacity }): ClaimedDevice => (
          { pool: same(pool), device: same(device), shares: count(consumedCapacity?.shares ?? 1) }
        ));
      if (devices.length === 0) return null;
      const pods = (status?.reservedFor ?? []).filter((one) => one.resource === "pods");
      return { devices, pods: pods.map((one) => `${metadata.namespace}/${one.name}`) };
    },
    event: (event) => {
      const found = eventFacts(event);
      if (found === null || !own(found.resource)) return null;
      return { ...found, node: same(found.node), hca: same(found.hca), resource: same(found.resource) };
    },
  };
}

function notReady(conditions: Conditions | undefined): NodeFacts["notReady"] {
  const ready = conditions?.find((one) => one.type === "Ready");
  if (ready?.status === "True") return null;
  const reason = ready?.message || ready?.reason || "the kubelet has not reported";
  return { reason, since: ready?.lastTransitionTime ?? null };
}

function rdmaCondition(conditions: Conditions | undefined): NodeFacts["condition"] {
  const found = conditions?.find((one) => one.type === CONDITION);
  if (found === undefined) return null;
  const { status, message, reason, lastTransitionTime } = found;
  return { ready: status === "True", message: message || reason || "", since: lastTransitionTime ?? null };
}

/** "mlx5_1 of rdma/rail is Unhealthy: port 1 is DOWN (Polling)", "… is Healthy again": the plugin's own sentences. */
const NOTE = /^(\S+) of (\S+) is (?:(Healthy) again|Unhealthy: (.*))$/s;

function eventFacts({ regarding, note, eventTime, series }: ApiEvent): EventFacts | null {
  const [, hca = "", resource = "", healthy, reason = ""] = NOTE.exec(note ?? "") ?? [];
  const time = series?.lastObservedTime ?? eventTime;
  if (regarding?.kind !== "Node" || regarding.name === undefined || hca === "" || !time) return null;
  return {
    node: regarding.name,
    hca,
    resource,
    healthy: healthy !== undefined,
    reason,
    time,
    count: series?.count ?? 1,
  };
}
