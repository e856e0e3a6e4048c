/**
 * Health over time. A pure step per scan: the previous states, the new selection and the time give the new states, the
 * changes, and the time of the next change that needs no event.
 *
 * A device becomes Unhealthy at once. It becomes Healthy when all requirements have held for the settle time, so a
 * flapping link does not flap the kubelet's list. A removed HCA stays in the list as Unhealthy for the grace time, so a
 * driver reload does not remove the resource under running pods.
 *
 * @module
 */
import type { Hca } from "../hca/types.ts";
import { natural } from "../text/natural.ts";
import { type ExceededRules, NONE_EXCEEDED } from "./errors.ts";
import { type UnhealthyReason, unhealthyReason } from "./health.ts";
import type { ChangeCode, UnhealthyCode } from "./reasons.ts";
import { type LeftOut, type Member, type Pool, type Selection, stillMeans } from "./select.ts";
import type { ResourceSpec } from "./spec.ts";

/** State of one member of a pool. */
export interface DeviceState {
  /** As last seen. */
  readonly member: Member;
  readonly healthy: boolean;
  /** False while it is gone and its grace time runs. */
  readonly present: boolean;
  /** Why it is not healthy; null when it is healthy. */
  readonly code: UnhealthyCode | null;
  /** The same for people; empty when it is healthy. */
  readonly reason: string;
  /** The port of the current or last reason; null for the whole HCA. */
  readonly port: number | null;
  /** The counter whose errors are the reason, or were before the settle time; null for other reasons. */
  readonly counter: string | null;
  /** Time (clock of `now`, ms) since which all requirements hold; null while one does not. */
  readonly fitSince: number | null;
  /** Time since which it is gone; null while it is present. */
  readonly goneSince: number | null;
}

/** Device states of one resource by member ID, in natural order. */
export interface PoolState {
  readonly spec: ResourceSpec;
  readonly deviceStates: ReadonlyMap<string, DeviceState>;
}

/** Pool states by resource name. */
export type PoolStates = ReadonlyMap<string, PoolState>;

/** A device was added, was removed, or changed its health; logged as one line. */
export interface Change {
  readonly resource: string;
  readonly device: string;
  readonly hca: string;
  readonly port: number | null;
  readonly from: "absent" | "Healthy" | "Unhealthy";
  readonly to: "absent" | "Healthy" | "Unhealthy";
  readonly code: ChangeCode;
  readonly reason: string;
}

/** Returns the node that a container on the HCA needs and the host does not have. */
export type MissingNode = (spec: ResourceSpec, hca: Hca) => string | null;

/** Result of one step. */
export interface Tracked {
  /** The same object as before when nothing changed. */
  readonly states: PoolStates;
  readonly changes: readonly Change[];
  /** Time of the next change without an event; null when none is pending. */
  readonly wakeAt: number | null;
}

/**
 * @param held members, by resource, that running pods hold according to the kubelet; in exclusive RDMA network namespace
 *   mode their devices stay although this machine's sysfs does not show them. Null when it is not known, and in shared
 *   mode, where it does not matter
 * @param now milliseconds of a monotonic clock
 * @param missing the node that a container on the HCA needs and the host does not have, as a sentence; null for none
 * @param exceeded the rules that counters exceed
 */
export function track(
  states: PoolStates,
  selection: Selection,
  held: ReadonlyMap<string, ReadonlySet<string>> | null,
  now: number,
  missing: MissingNode = () => null,
  exceeded: ExceededRules = NONE_EXCEEDED,
): Tracked {
  const facts = { now, missing, exceeded };
  const changes: Change[] = [];
  let wakeAt: number | null = null;
  const next = new Map<string, PoolState>();
  for (const pool of selection.pools) {
    const name = pool.spec.name;
    const before = states.get(name);
    const heldHere = held === null ? null : held.get(name) ?? new Set<string>();
    const steps = step(before, pool, selection.leftOut, heldHere, facts);
    const deviceStates = new Map<string, DeviceState>();
    for (const [id, deviceState] of steps) {
      const was = before?.deviceStates.get(id);
      if (deviceState !== null) deviceStates.set(id, deviceState);
      const change = difference(name, id, was, deviceState);
      if (change !== null) changes.push(change);
      const due = deviceState === null ? null : dueAt(deviceState, pool.spec);
      if (due !== null) wakeAt = Math.min(wakeAt ?? Infinity, due);
    }
    next.set(
      name,
      before !== undefined && same(before, pool.spec, deviceStates) ? before : { spec: pool.spec, deviceStates },
    );
  }
  const unchanged = next.size === states.size && [...next].every(([name, poolState]) => states.get(name) === poolState);
  return { states: unchanged ? states : next, changes, wakeAt };
}

/** What devices are judged by besides their selection. */
interface Judgement {
  readonly now: number;
  readonly missing: MissingNode;
  readonly exceeded: ExceededRules;
}

/**
 * Each member that was known before or is selected now, in natural order, with its new state; null when it is removed.
 */
function step(
  before: PoolState | undefined,
  pool: Pool,
  leftOut: readonly LeftOut[],
  held: ReadonlySet<string> | null,
  facts: Judgement,
): readonly (readonly [string, DeviceState | null])[] {
  const selected = new Map(pool.members.map((member) => [member.id, member]));
  const ids = [...new Set([...before?.deviceStates.keys() ?? [], ...selected.keys(), ...held ?? []])];
  // After a config change, members that are no longer selected are removed at once, without the grace time.
  const meant = ({ member }: DeviceState) =>
    before?.spec === pool.spec || (!pool.leftOut.has(member.id) && stillMeans(pool.spec, member));
  return ids.sort(natural).map((id) => {
    const was = before?.deviceStates.get(id);
    const member = selected.get(id);
    if (member !== undefined) return [id, here(was, member, pool.spec, held, facts)] as const;
    if (held?.has(id) && !pool.leftOut.has(id)) return [id, away(was, id)] as const;
    if (was === undefined) return [id, null] as const;
    const graceMs = meant(was) ? pool.spec.health.graceMs : 0;
    return [id, gone(was, leftOut, pool.spec.name, graceMs, facts.now)] as const;
  });
}

function here(
  was: DeviceState | undefined,
  member: Member,
  spec: ResourceSpec,
  held: ReadonlySet<string> | null,
  { now, missing, exceeded }: Judgement,
): DeviceState {
  const found = unhealthyReason(member, spec, exceeded) ?? withoutNode(member, spec, missing) ??
    outOfReach(member, spec, held);
  if (found !== null) {
    // The HCA is named only when the device has several.
    const reason = member.hcas.length > 1 ? `${found.hca}: ${found.reason}` : found.reason;
    return keep(was, {
      member,
      healthy: false,
      present: true,
      code: found.code,
      reason,
      port: found.port,
      counter: found.counter ?? null,
      fitSince: null,
      goneSince: null,
    });
  }
  const fitSince = was?.fitSince ?? now;
  // A new device, or one that was healthy before, has no settle time.
  const healthy = was === undefined || was.healthy || now - fitSince >= spec.health.settleMs;
  const reason = healthy ? "" : `all requirements hold again, waiting ${spec.health.settleMs} ms for it to stay so`;
  const code = healthy ? null : "settling";
  const port = was?.port ?? null;
  const counter = healthy ? null : was?.counter ?? null;
  return keep(was, { member, healthy, present: true, code, reason, port, counter, fitSince, goneSince: null });
}

/** Each HCA of the member must have the nodes that its containers need. */
function withoutNode(member: Member, spec: ResourceSpec, missing: MissingNode): UnhealthyReason | null {
  if (member.inPodNetns) return null;
  for (const hca of member.hcas) {
    const reason = missing(spec, hca);
    if (reason !== null) return { code: "node-missing", hca: hca.name, port: null, reason };
  }
  return null;
}

/**
 * An HCA that is in another network namespace, or has lost its RDMA driver, and that no pod holds cannot be allocated.
 * Of resources whose device IDs name no HCA, and of those offered through DRA, the kubelet's record does not say who has
 * them.
 */
function outOfReach(member: Member, spec: ResourceSpec, held: ReadonlySet<string> | null): UnhealthyReason | null {
  const { mode, api } = spec;
  if (!member.inPodNetns || held === null || held.has(member.id)) return null;
  if (api === "dra" || (mode.kind === "shared" && mode.of === "all")) return null;
  const reason =
    "it is not in the host's RDMA network namespace, and no pod holds this device; who moved it has to move " +
    "it back (rdma dev set), or its RDMA driver is to be loaded again";
  return { code: "other-netns", hca: member.hcas.map((hca) => hca.name).join("+"), port: null, reason };
}

/** In a pod's network namespace and not seen since this process started: allocated, not gone. */
function away(was: DeviceState | undefined, id: string): DeviceState {
  const member = was === undefined ? { id, hcas: [], inPodNetns: true } : { ...was.member, inPodNetns: true };
  if (was !== undefined && was.member.inPodNetns && was.present) return was;
  const fine = { code: null, reason: "", port: null, counter: null, fitSince: null, goneSince: null };
  return { member, healthy: true, present: true, ...fine };
}

function gone(
  was: DeviceState,
  leftOut: readonly LeftOut[],
  resource: string,
  graceMs: number,
  now: number,
): DeviceState | null {
  const goneSince = was.goneSince ?? now;
  if (now - goneSince >= graceMs) return null;
  const names = was.member.hcas.map((hca) => hca.name);
  const why = leftOut.find((one) => one.resource === resource && names.includes(one.hca));
  const reason = why === undefined
    ? "it disappeared from the machine"
    : `${why.hca} is not selected any more: ${why.reason}`;
  const code = why === undefined ? "gone" : "not-selected";
  const away = { healthy: false, present: false, code, reason, port: null, counter: null } as const;
  return keep(was, { ...was, ...away, fitSince: null, goneSince });
}

/** Returns the old object when the new one is equal, so that unchanged pools are recognised by identity. */
function keep(was: DeviceState | undefined, next: DeviceState): DeviceState {
  if (was === undefined) return next;
  const member = sameMember(was.member, next.member) ? was.member : next.member;
  return was.healthy === next.healthy && was.present === next.present && was.code === next.code &&
      was.reason === next.reason && was.port === next.port && was.fitSince === next.fitSince &&
      was.goneSince === next.goneSince &&
      was.member === member
    ? was
    : { ...next, member };
}

function sameMember(a: Member, b: Member): boolean {
  return a.id === b.id && a.inPodNetns === b.inPodNetns && a.claimedBy === b.claimedBy &&
    a.hcas.length === b.hcas.length &&
    a.hcas.every((hca, i) => hca === b.hcas[i]);
}

function same(before: PoolState, spec: ResourceSpec, deviceStates: ReadonlyMap<string, DeviceState>): boolean {
  return before.spec === spec && before.deviceStates.size === deviceStates.size &&
    [...deviceStates].every(([id, deviceState]) => before.deviceStates.get(id) === deviceState);
}

function dueAt(deviceState: DeviceState, spec: ResourceSpec): number | null {
  if (!deviceState.present && deviceState.goneSince !== null) return deviceState.goneSince + spec.health.graceMs;
  if (!deviceState.healthy && deviceState.fitSince !== null) return deviceState.fitSince + spec.health.settleMs;
  return null;
}

function difference(resource: string, id: string, was: DeviceState | undefined, is: DeviceState | null): Change | null {
  const state = (deviceState: DeviceState | null) =>
    deviceState === null ? "absent" : deviceState.healthy ? "Healthy" : "Unhealthy";
  const from = state(was ?? null), to = state(is);
  if (from === to) return null;
  const member = (is ?? was)!.member;
  return {
    resource,
    device: id,
    hca: member.hcas.map((hca) => hca.name).join("+") || id,
    port: is?.port ?? null,
    from,
    to,
    code: to === "Healthy" ? (from === "absent" ? "appeared" : "recovered") : is?.code ?? "grace-over",
    reason: to === "Healthy" ? whyHealthy(from, member) : is?.reason ?? "it did not come back within the grace time",
  };
}

function whyHealthy(from: Change["from"], member: Member): string {
  const ports = member.hcas.flatMap((hca) => hca.ports.map((port) => `port ${port.number} ${port.state}`)).join(", ");
  return `${from === "absent" ? "it appeared" : "everything it needs holds again"}${ports === "" ? "" : `: ${ports}`}`;
}
