/**
 * Nodes and events as this project reads and writes them: the fields it uses, under their own names. Events are those of
 * `events.k8s.io/v1`, whose rules are stricter than those of the older API.
 *
 * @module
 */
import type { ObjectMeta } from "./resource_api.ts";

export const EVENTS_API = "events.k8s.io/v1";

/** What an event is about. */
export interface ObjectReference {
  readonly apiVersion: string;
  readonly kind: string;
  readonly name: string;
  readonly namespace?: string;
  readonly uid?: string;
}

/** Repeats of an event, from the second time on. */
export interface EventSeries {
  /** At least 2: the server refuses 1. */
  readonly count: number;
  readonly lastObservedTime: string;
}

/** Once written, only `series` can change: the server refuses everything else (`ValidateEventUpdate`). */
export interface KubernetesEvent {
  readonly apiVersion: typeof EVENTS_API;
  readonly kind: "Event";
  readonly metadata: ObjectMeta;
  readonly eventTime: string;
  readonly reportingController: string;
  readonly reportingInstance: string;
  readonly action: string;
  readonly reason: string;
  readonly regarding: ObjectReference;
  readonly note: string;
  readonly type: "Normal" | "Warning";
  readonly series?: EventSeries;
}

export interface NodeCondition {
  readonly type: string;
  readonly status: "True" | "False" | "Unknown";
  readonly reason?: string;
  readonly message?: string;
  readonly lastTransitionTime?: string;
  readonly lastHeartbeatTime?: string;
}

export interface LabelledNode {
  readonly metadata: ObjectMeta & { readonly labels?: Readonly<Record<string, string>> };
  readonly status?: { readonly conditions?: readonly NodeCondition[] };
}

/** Events about objects without a namespace, such as nodes, are in "default". */
export function eventsPath(namespace: string, name?: string): string {
  const events = `/apis/${EVENTS_API}/namespaces/${encodeURIComponent(namespace)}/events`;
  return name === undefined ? events : `${events}/${encodeURIComponent(name)}`;
}

/** A `MicroTime`: exactly six digits after the point. @param ms since the epoch */
export function microTime(ms: number): string {
  return new Date(ms).toISOString().replace("Z", "000Z");
}

/** A `Time`: seconds. @param ms since the epoch */
export function time(ms: number): string {
  return new Date(ms).toISOString().replace(/\.\d+Z$/, "Z");
}

/** The first bytes of a text, whole characters, with an ellipsis where something is missing. */
export function cut(text: string, bytes: number): string {
  const encoder = new TextEncoder();
  if (encoder.encode(text).length <= bytes) return text;
  const kept = new Uint8Array(bytes - 3);
  const { read } = encoder.encodeInto(text, kept);
  return `${text.slice(0, read)}…`;
}
