/**
 * Events as the API server takes them: within the limits of `events.k8s.io/v1` (kubernetes
 * `pkg/apis/core/validation/events.go`), whatever the machine's names and reasons are. Pure.
 *
 * @module
 */
import { cut, EVENTS_API, type EventSeries, type KubernetesEvent, microTime } from "../kubernetes/core_api.ts";
import { printable } from "../text/printable.ts";
import type { Series } from "./series.ts";

export const CONTROLLER = "rdma.tencent.com/device-plugin";
const LONGEST_NOTE = 1_024;
const LONGEST_INSTANCE = 128;
/** A name is a DNS subdomain of at most 253 characters; a point and 16 hexadecimal digits follow the object's name. */
const LONGEST_NAME = 253 - 17;

/** Namespace of an object's events: cluster-scoped objects have theirs in "default". */
export function namespaceOf({ regarding }: Pick<Series, "regarding">): string {
  return regarding.namespace ?? "default";
}

/** A name for a new event. @param digits 16 hexadecimal digits that were not used before */
export function eventName({ regarding }: Pick<Series, "regarding">, digits: string): string {
  return `${regarding.name.slice(0, LONGEST_NAME).replace(/[^a-z0-9]+$/, "")}.${digits}`;
}

/** @param instance which plugin reports: its pod, or its host */
export function eventObject(one: Series, name: string, instance: string): KubernetesEvent {
  const { occurrence, regarding, first } = one;
  const series = seriesOf(one);
  return {
    apiVersion: EVENTS_API,
    kind: "Event",
    metadata: { name, namespace: namespaceOf(one) },
    eventTime: microTime(first),
    reportingController: CONTROLLER,
    reportingInstance: instance.slice(0, LONGEST_INSTANCE),
    action: occurrence.action,
    reason: occurrence.reason,
    regarding,
    note: cut(printable(occurrence.note), LONGEST_NOTE),
    type: occurrence.type,
    ...series === null ? {} : { series },
  };
}

/** Null for something that happened once. */
export function seriesOf({ count, last }: Pick<Series, "count" | "last">): EventSeries | null {
  return count < 2 ? null : { count, lastObservedTime: microTime(last) };
}
