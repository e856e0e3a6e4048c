/**
 * Event sources by the `--events` flag.
 *
 * @module
 */
import { resolve } from "node:path";
import { fileSource } from "../hca/events/file_source.ts";
import { netlinkSource } from "../hca/events/netlink.ts";
import type { EventSource } from "../hca/events/trigger.ts";

/** @param onProblem called with a sentence when a part of a source is not available */
export function eventSources(events: string, onProblem: (sentence: string) => void): readonly EventSource[] {
  if (events === "poll") return [];
  if (events === "auto") return [netlinkSource({ onProblem })];
  return [fileSource(resolve(events))];
}
