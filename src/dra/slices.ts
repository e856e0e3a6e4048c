/**
 * Computes the ResourceSlices of the devices, and the writes that bring the API server up to date. Pure.
 *
 * @module
 */
import { createHash } from "node:crypto";
import { isDeepStrictEqual } from "node:util";
import type { DeviceTaint, OwnerReference, ResourceSlice, SliceDevice, SliceSpec } from "../kubernetes/resource_api.ts";
import { RESOURCE_API } from "../kubernetes/resource_api.ts";
import type { Attributes } from "./attributes.ts";
import type { Published } from "./devices.ts";

/** The limit is 128, or 64 if any device has a taint or counter; a taint must always fit, so 64 is used. */
export const MOST_DEVICES = 64;
const MOST_COUNTER_SETS = 8;

/** Identifies the slices of one pool. */
export interface PoolIdentity {
  readonly driver: string;
  readonly node: string;
  readonly pool: string;
  /** The Node object: the slices are garbage-collected with it. */
  readonly owner: OwnerReference;
}

/** The content of one slice, without generation and slice count. */
export type SliceContent = Pick<SliceSpec, "devices" | "sharedCounters">;

/** A write to the API server. */
export type Write =
  | { readonly kind: "create"; readonly slice: ResourceSlice }
  | { readonly kind: "update"; readonly slice: ResourceSlice }
  | { readonly kind: "delete"; readonly name: string };

/** The slices of a pool; at least one, which says that a pool is empty. */
export function contents({ devices, counters }: Published): readonly SliceContent[] {
  const parts: SliceContent[] = chunks(devices, MOST_DEVICES).map((part) => ({ devices: part }));
  // Counters and devices must be in separate slices of a pool (validation of resource.k8s.io/v1).
  const sets: SliceContent[] = chunks(counters, MOST_COUNTER_SETS).map((part) => ({ sharedCounters: part }));
  return parts.length + sets.length === 0 ? [{ devices: [] }] : [...parts, ...sets];
}

/**
 * The writes after which the API server has exactly the wanted slices; empty when it already has.
 *
 * While every slice contains the same devices as before, slices are updated in place. Otherwise the pool gets a new
 * generation: consumers then wait for all of its slices, and never see a mixture of two states.
 *
 * @param taints for their age, also those of slices that were deleted
 */
export function planWrites(
  existing: readonly ResourceSlice[],
  wanted: readonly SliceContent[],
  identity: PoolIdentity,
  taints: KnownTaints = publishedTaints(existing),
): readonly Write[] {
  const ours = existing.filter(({ spec }) => spec.pool.name === identity.pool);
  const foreign = existing.filter(({ spec }) => spec.pool.name !== identity.pool);
  const byName = new Map(ours.map((one) => [one.metadata.name!, one]));
  const names = wanted.map((_, i) => sliceName(identity, i));
  const generation = Math.max(0, ...ours.map(({ spec }) => spec.pool.generation));
  const inPlace = ours.length === wanted.length && names.every((name, i) => {
    const there = byName.get(name)?.spec;
    return there !== undefined && there.pool.generation === generation &&
      there.pool.resourceSliceCount === wanted.length && isDeepStrictEqual(members(there), members(wanted[i]!));
  });
  const pool = {
    name: identity.pool,
    generation: inPlace ? generation : generation + 1,
    resourceSliceCount: wanted.length,
  };
  const writes = wanted.flatMap((content, i): Write[] => {
    const before = byName.get(names[i]!);
    const spec: SliceSpec = { driver: identity.driver, nodeName: identity.node, pool, ...withTimes(content, taints) };
    if (before === undefined) return [{ kind: "create", slice: newSlice(names[i]!, spec, identity) }];
    if (sameSpec(before.spec, spec)) return [];
    return [{ kind: "update", slice: { ...before, apiVersion: RESOURCE_API, kind: "ResourceSlice", spec } }];
  });
  const kept = new Set(names);
  const obsolete = [...ours.filter(({ metadata }) => !kept.has(metadata.name!)), ...foreign];
  return [...writes, ...obsolete.map(({ metadata }): Write => ({ kind: "delete", name: metadata.name! }))];
}

/** "n1-rdma.tencent.com-00": the scheduler sorts slices by name, so the number keeps their order. */
export function sliceName({ node, driver }: PoolIdentity, index: number): string {
  const tail = `-${driver}-${index.toString(16).padStart(2, "0")}`;
  const longest = 253 - tail.length;
  if (node.length <= longest) return `${node}${tail}`;
  const digest = createHash("sha256").update(node).digest("hex").slice(0, 8);
  return `${node.slice(0, longest - 9).replace(/[-.]+$/, "")}-${digest}${tail}`;
}

/** Whether two specs are equal, apart from `timeAdded` of taints, which the API server sets. */
export function sameSpec(a: SliceSpec, b: SliceSpec): boolean {
  return isDeepStrictEqual(comparable(a), comparable(b));
}

/** Features whose fields the API server dropped, because their feature gate is off. */
export function droppedFields(sent: SliceSpec, got: SliceSpec): ReadonlySet<"taints" | "sharing" | "counters"> {
  const dropped = new Set<"taints" | "sharing" | "counters">();
  const kept = new Map((got.devices ?? []).map((one) => [one.name, one]));
  for (const device of sent.devices ?? []) {
    const other = kept.get(device.name);
    if ((device.taints?.length ?? 0) > (other?.taints?.length ?? 0)) dropped.add("taints");
    if (device.allowMultipleAllocations && !other?.allowMultipleAllocations) dropped.add("sharing");
    if ((device.consumesCounters?.length ?? 0) > (other?.consumesCounters?.length ?? 0)) dropped.add("counters");
  }
  if ((sent.sharedCounters?.length ?? 0) > (got.sharedCounters?.length ?? 0)) dropped.add("counters");
  return dropped;
}

/** A slice with every field that depends on a feature gate, for a dry run. */
export function probeSlice(identity: PoolIdentity): ResourceSlice {
  const devices: SliceDevice[] = [
    {
      name: "probe-0",
      allowMultipleAllocations: true,
      taints: [{ key: `${identity.driver}/probe`, effect: "NoSchedule" }],
    },
    { name: "probe-1", consumesCounters: [{ counterSet: "probe", counters: { vfs: { value: "1" } } }] },
  ];
  const pool = { name: identity.pool, generation: 1, resourceSliceCount: 1 };
  const spec = { driver: identity.driver, nodeName: identity.node, pool, devices };
  return newSlice(sliceName({ ...identity, driver: `${identity.driver}-probe` }, 0), spec, identity);
}

/** Attributes by device name, as published by this or an earlier process. */
export function publishedAttributes(slices: readonly ResourceSlice[]): ReadonlyMap<string, Attributes> {
  return new Map(slices.flatMap(({ spec }) => spec.devices ?? []).map((one) => [one.name, one.attributes ?? {}]));
}

/** Taints by device name, as the API server has or had them. */
export type KnownTaints = ReadonlyMap<string, readonly DeviceTaint[]>;

export function publishedTaints(slices: readonly ResourceSlice[]): KnownTaints {
  return new Map(slices.flatMap(({ spec }) => spec.devices ?? []).map((one) => [one.name, one.taints ?? []]));
}

function newSlice(name: string, spec: SliceSpec, { owner }: PoolIdentity): ResourceSlice {
  return { apiVersion: RESOURCE_API, kind: "ResourceSlice", metadata: { name, ownerReferences: [owner] }, spec };
}

/**
 * Keeps `timeAdded` of known taints, whichever slice has their device: a write must not change the age of a taint, from
 * which `tolerationSeconds` count.
 */
function withTimes(content: SliceContent, known: KnownTaints): SliceContent {
  if (content.devices === undefined) return content;
  const devices = content.devices.map((device): SliceDevice => {
    if (device.taints === undefined) return device;
    const taints = device.taints.map((taint) => {
      const old = known.get(device.name)?.find((one) => one.key === taint.key && one.effect === taint.effect);
      return old?.timeAdded === undefined ? taint : { ...taint, timeAdded: old.timeAdded };
    });
    return { ...device, taints };
  });
  return { ...content, devices };
}

function members({ devices, sharedCounters }: SliceContent): readonly (readonly string[])[] {
  return [(devices ?? []).map((one) => one.name), (sharedCounters ?? []).map((one) => one.name)];
}

function comparable({ devices = [], sharedCounters = [], pool, driver, nodeName }: SliceSpec) {
  const plain = devices.map(({ taints = [], attributes = {}, capacity = {}, consumesCounters = [], ...rest }) => ({
    ...rest,
    allowMultipleAllocations: rest.allowMultipleAllocations ?? false,
    attributes,
    capacity,
    consumesCounters,
    taints: taints.map(({ key, value = "", effect }) => ({ key, value, effect })),
  }));
  return { driver, nodeName, pool: { ...pool }, devices: plain, sharedCounters };
}

function chunks<T>(list: readonly T[], size: number): readonly (readonly T[])[] {
  return Array.from({ length: Math.ceil(list.length / size) }, (_, i) => list.slice(i * size, (i + 1) * size));
}
