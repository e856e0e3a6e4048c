/**
 * Patches of nodes and events, and what the real server refuses of events (kubernetes `pkg/apis/core/validation/events.go`).
 *
 * @module
 */
import { isDeepStrictEqual } from "node:util";
import { EVENTS } from "./server.ts";
import { type KubeObject, type Store, StoreError } from "./store.ts";

/** A patch as it came in. */
export interface Patch {
  readonly collection: string;
  readonly key: string;
  /** "status", or null for the object itself. */
  readonly subresource: string | null;
  readonly contentType: string;
  readonly body: Readonly<Record<string, unknown>>;
}

/** Stores the patched object. @throws {StoreError} as the server refuses */
export function patch(store: Store, { collection, key, subresource, contentType, body }: Patch): KubeObject {
  const before = store.get(collection, key);
  if (before === null) throw new StoreError(404, "NotFound", `${collection.split("/").at(-1)} "${key}" not found`);
  if (!["application/merge-patch+json", "application/strategic-merge-patch+json"].includes(contentType)) {
    throw new StoreError(
      415,
      "UnsupportedMediaType",
      `the body of the request was in an unknown format: ${contentType}`,
    );
  }
  const merged = merge(before, body, contentType.startsWith("application/strategic")) as KubeObject;
  // Each of the two ignores what belongs to the other.
  const after = subresource === "status" ? { ...before, status: merged.status } : { ...merged, status: before.status };
  if (collection === EVENTS) admitEvent(after as KubeObject, before);
  // A patch that changes nothing is no write.
  if (isDeepStrictEqual(after, before)) return before;
  return store.update(collection, key, after as KubeObject);
}

/** Conditions are merged by their type where the patch is a strategic one; other lists are replaced. */
function merge(before: unknown, change: unknown, strategic: boolean): unknown {
  if (strategic && isConditions(before) && isConditions(change)) {
    const byType = new Map(before.map((one) => [one.type, one]));
    for (const one of change) byType.set(one.type, { ...byType.get(one.type), ...one });
    return [...byType.values()];
  }
  if (!isPlain(change)) return change;
  const merged: Record<string, unknown> = isPlain(before) ? { ...before } : {};
  for (const [key, value] of Object.entries(change)) {
    if (value === null) delete merged[key];
    else merged[key] = merge(merged[key], value, strategic);
  }
  return merged;
}

function isPlain(value: unknown): value is Record<string, unknown> {
  return typeof value === "object" && value !== null && !Array.isArray(value);
}

function isConditions(value: unknown): value is readonly { readonly type: string }[] {
  return Array.isArray(value) && value.every((one) => isPlain(one) && typeof one.type === "string");
}

const MICRO_TIME = /^\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{6}(Z|[+-]\d\d:\d\d)$/;
/** All but `series`. */
const FIXED = [
  "eventTime",
  "reportingController",
  "reportingInstance",
  "action",
  "reason",
  "regarding",
  "note",
  "type",
];

/** @throws {StoreError} 422 with every mistake */
export function admitEvent(event: KubeObject, before: KubeObject | null): KubeObject {
  const mistakes: string[] = [];
  const field = (name: string) => typeof event[name] === "string" ? event[name] : "";
  const { namespace } = event.metadata as { namespace?: string };
  const regarding = (event.regarding ?? {}) as { namespace?: string };
  if ((regarding.namespace ?? "default") !== namespace) {
    mistakes.push(`regarding.namespace: Invalid value: "${regarding.namespace}": does not match event.namespace`);
  }
  if (!MICRO_TIME.test(field("eventTime"))) mistakes.push("eventTime: Invalid value");
  for (const [name, most] of [["reportingInstance", 128], ["action", 128], ["reason", 128]] as const) {
    if (field(name) === "") mistakes.push(`${name}: Required value`);
    if (field(name).length > most) mistakes.push(`${name}: can have at most ${most} characters`);
  }
  if (!/^([a-z0-9.-]+\/)?[A-Za-z0-9]([-A-Za-z0-9_.]*[A-Za-z0-9])?$/.test(field("reportingController"))) {
    mistakes.push("reportingController: Invalid value");
  }
  if (new TextEncoder().encode(field("note")).length > 1_024) mistakes.push("note: can have at most 1024 characters");
  if (!["Normal", "Warning"].includes(field("type"))) mistakes.push("type: Invalid value");
  if (!/^[a-z0-9]([-a-z0-9.]*[a-z0-9])?$/.test(event.metadata.name ?? "") || event.metadata.name!.length > 253) {
    mistakes.push("metadata.name: Invalid value");
  }
  const series = event.series as { count?: number; lastObservedTime?: string } | undefined;
  if (series !== undefined) {
    if ((series.count ?? 0) < 2) mistakes.push("series.count: Invalid value: should be at least 2");
    if (!MICRO_TIME.test(series.lastObservedTime ?? "")) mistakes.push("series.lastObservedTime: Required value");
  }
  for (const name of FIXED) {
    if (before !== null && !isDeepStrictEqual(event[name], before[name])) mistakes.push(`${name}: field is immutable`);
  }
  if (mistakes.length === 0) return event;
  throw new StoreError(422, "Invalid", `Event "${event.metadata.name}" is invalid: [${mistakes.join(", ")}]`);
}
