/**
 * Facts, plans and states of a session, for tests of its pure step.
 *
 * @module
 */
import type { Facts, Mode, Plan } from "../../src/device_plugin/session_facts.ts";
import { TIMING } from "../../src/device_plugin/session_options.ts";
import { type Action, initialState, type Stage, type State } from "../../src/device_plugin/session_state.ts";

export const PLAN: Plan = {
  resource: "example.com/rdma",
  kubeletDir: "/k",
  registryDir: "/r",
  fallback: true,
  timing: TIMING,
};
export const OURS = "ours";
export const OTHER = "other";
export const KUBELET = "kubelet";
export const NOW = 1_000_000;

/** Everything is as it should be: our socket in place, the kubelet there and up, no stream. */
export const FACTS: Facts = {
  server: { identity: OURS, streams: 0, probedAt: NOW },
  socket: OURS,
  socketDir: true,
  kubelet: KUBELET,
  kubeletDir: true,
  served: new Map([[KUBELET, true]]),
};
export const streams = (n: number): Partial<Facts> => ({ server: { identity: OURS, streams: n, probedAt: NOW } });
export const served = (...pairs: [string, boolean][]): Partial<Facts> => ({ served: new Map(pairs) });

export const announcedBy = (mode: Mode, since = NOW): Stage => ({
  kind: "announced",
  kubelet: mode === "socket" ? KUBELET : null,
  since,
});
export const CALLING: Stage = { kind: "calling", kubelet: KUBELET, call: 1, superseded: false };
export const UNREGISTERED: Stage = { kind: "unregistered" };
export const STANDBY: Stage = { kind: "standby" };

/** A state, given by what is not as at the start. */
export function state(stage: Stage, mode: Mode = "socket", history: Partial<State["history"]> = {}): State {
  const initial = initialState(mode);
  return {
    ...initial,
    stage,
    phase: "registering",
    code: "registering",
    reason: "a test",
    history: { ...initial.history, ...history },
  };
}

export const wait = (until: number): Action => ({ do: "wait", until });
