/**
 * What the probes say. Pure.
 *
 * @module
 */
import type { SessionStatus } from "../device_plugin/session.ts";

/**
 * Why the plugin is not ready, a line per reason; empty when every resource is registered and its stream open.
 *
 * A resource in standby is not ready: another process serves it, and an operator who waits for this one to become
 * ready should learn that. While a DaemonSet is being rolled it is the old pod that is on standby, and no one waits for it.
 */
export function unready(sessions: readonly SessionStatus[] | null): readonly string[] {
  if (sessions === null) return ["the first scan at the machine is not finished"];
  if (sessions.length === 0) return ["there is no resource to register"];
  return sessions.filter((one) => one.phase !== "registered" || one.streams === 0).map((one) =>
    `${one.resource} is ${one.phase}: ${one.reason ?? "the kubelet does not follow its list"}`
  );
}

/** Milliseconds beyond three rescans: a scan may wait for firmware, and a busy machine may be late. */
const MARGIN_MS = 15_000;

/**
 * Why the plugin counts as dead; null while it lives. Without a timer for looks (`rescanMs` 0) an answer is proof
 * enough: it shows that the event loop turns.
 *
 * @param sinceLookMs milliseconds since the last scan ended, or since the start
 */
export function dead(sinceLookMs: number, rescanMs: number): string | null {
  const limit = 3 * rescanMs + MARGIN_MS;
  if (rescanMs === 0 || sinceLookMs <= limit) return null;
  return `the last scan at the machine ended ${Math.round(sinceLookMs / 1e3)} s ago; ` +
    `there should be one every ${rescanMs / 1e3} s`;
}
