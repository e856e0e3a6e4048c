/**
 * The kubelet's state as one value, and state and events as text.
 *
 * @module
 */
import { HEALTHY } from "../../src/kubelet/api.ts";
import type { KubeletEvent } from "./history.ts";
import type { ResourceState } from "./resources.ts";

/** The current state of the kubelet. */
export interface KubeletState {
  readonly running: boolean;
  readonly resources: Readonly<Record<string, ResourceState>>;
  readonly allocations: readonly {
    readonly pod: string;
    readonly container: string;
    readonly resource: string;
    readonly ids: readonly string[];
  }[];
}

/** State and last events, for the error of a wait that timed out. */
export function describe(state: KubeletState, history: readonly KubeletEvent[]): string {
  const resources = Object.values(state.resources).map((resource) => {
    const sick = resource.devices.filter((device) => device.health !== HEALTHY).map((device) => device.id);
    return `${resource.name}: ${resource.allocatable} of ${resource.capacity} healthy` +
      (sick.length > 0 ? ` (not: ${shorten(sick)})` : "") +
      `, ${resource.lists} lists, ${resource.endpoint === null ? "not connected" : "connected"}`;
  });
  const last = history.slice(-6).map(inOneLine);
  return `The kubelet ${state.running ? "runs" : "does not run"}; ` +
    (resources.length > 0 ? resources.join("; ") : "no resource is registered") +
    (last.length > 0 ? `. Last events: ${last.join(" | ")}` : "");
}

/** Formats an event: "list example.com/rdma mlx5_0=Healthy". */
export function inOneLine(event: KubeletEvent): string {
  const { kind, at: _, ...rest } = event;
  const words = Object.entries(rest).map(([key, value]) => {
    if (key === "resource") return String(value);
    if (key === "devices") return shorten(event.kind === "list" ? event.devices.map((d) => `${d.id}=${d.health}`) : []);
    return `${key}=${Array.isArray(value) ? shorten(value) : value}`;
  });
  return [kind, ...words].join(" ");
}

function shorten(words: readonly unknown[]): string {
  const shown = words.slice(0, 8).join(",");
  return words.length > 8 ? `${shown},… ${words.length} in all` : `[${shown}]`;
}
