/**
 * The results of the probes. Pure.
 *
 * @module
 */
import type { SessionStatus } from "../device_plugin/session.ts";

/**
 * Reasons why the plugin is not ready, one line each; empty when every resource is registered with an open stream.
 *
 * A resource on standby is not ready: another process serves it, and operators waiting for readiness should see that.
 * During a DaemonSet rollout the old pod is the one on standby, and nothing waits for it.
 */
export function unready(sessions: readonly SessionStatus[] | null): readonly string[] {
  if (sessions === null) return ["the first scan of the machine has not finished"];
  if (sessions.length === 0) return ["there is no resource to register"];
  return sessions.filter((one) => one.phase !== "registered" || one.streams === 0).map((one) =>
    `${one.resource} is ${one.phase}: ${one.reason ?? "the kubelet has no open ListAndWatch stream"}`
  );
}

/** Milliseconds beyond three rescan intervals: a scan may wait for firmware, and a busy machine may be late. */
const MARGIN_MS = 15_000;

/**
 * The reason why the plugin counts as dead; null while it is alive. Without a rescan timer (`rescanMs` 0) it is always
 * alive, since the answer itself shows that the event loop runs.
 *
 * @param sinceScanMs milliseconds since the last scan ended, or since the start
 */
export function dead(sinceScanMs: number, rescanMs: number): string | null {
  const limit = 3 * rescanMs + MARGIN_MS;
  if (rescanMs === 0 || sinceScanMs <= limit) return null;
  return `the last scan of the machine ended ${Math.round(sinceScanMs / 1e3)} s ago; ` +
    `there should be one every ${rescanMs / 1e3} s`;
}
