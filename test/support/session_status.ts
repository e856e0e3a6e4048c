/** @module */
import type { SessionStatus } from "../../src/device_plugin/session.ts";
import { RESOURCE } from "./kubelet.ts";

/** What a session says that is registered, or that `over` makes another one of. */
export function sessionStatus(over: Partial<SessionStatus> = {}): SessionStatus {
  const registered = { phase: "registered", code: "registered", streams: 1, registrations: 1, reason: null } as const;
  return { resource: RESOURCE, via: "socket", socket: "", ...registered, ...over };
}
