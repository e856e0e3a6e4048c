/**
 * The facts that a session decides on, read from the file system and from the server.
 *
 * @module
 */
import { dirname, join } from "node:path";
import { exists } from "../hca/files.ts";
import { KUBELET_SOCKET } from "../kubelet/api.ts";
import { type FileIdentity, identityOf, socketName } from "../kubelet/socket_file.ts";
import type { Timing } from "./session_options.ts";

/** Constant for the lifetime of a session. */
export interface Plan {
  readonly resource: string;
  readonly kubeletDir: string;
  readonly registryDir: string;
  /** Whether to register with kubelet.sock when no plugin watcher connects. */
  readonly fallback: boolean;
  readonly timing: Timing;
}

/** The current server. */
export interface ServerFacts {
  readonly identity: FileIdentity;
  /** Open ListAndWatch streams. */
  readonly streams: number;
  /** Time of its start or last probe, regardless of the result; -Infinity to probe it now. */
  readonly probedAt: number;
}

export interface Facts {
  readonly server: ServerFacts | null;
  /** Identity of the file at our socket's path; null when there is none. */
  readonly socket: FileIdentity | null;
  /** Whether the directory of our socket exists. */
  readonly socketDir: boolean;
  /** Identity of the file at kubelet.sock. */
  readonly kubelet: FileIdentity | null;
  /** Whether the kubelet's directory exists here; with the plugin watcher it need not be mounted. */
  readonly kubeletDir: boolean;
  /** Probe results of this pass: whether the socket of this identity is served. */
  readonly served: ReadonlyMap<FileIdentity, boolean>;
}

/** The two ways to register with the kubelet. */
export type Mode = "socket" | "watcher";

/** The path of our socket. */
export function socketPath({ resource, kubeletDir, registryDir }: Plan, mode: Mode): string {
  return join(mode === "watcher" ? registryDir : kubeletDir, socketName(resource));
}

/** The path of the kubelet's socket. */
export function kubeletPath({ kubeletDir }: Plan): string {
  return join(kubeletDir, KUBELET_SOCKET);
}

/** Reads the current facts. */
export function observe(
  plan: Plan,
  mode: Mode,
  server: ServerFacts | null,
  served: ReadonlyMap<FileIdentity, boolean>,
): Facts {
  const path = socketPath(plan, mode);
  return {
    server,
    socket: identityOf(path),
    socketDir: exists(dirname(path)),
    kubelet: identityOf(kubeletPath(plan)),
    kubeletDir: exists(plan.kubeletDir),
    served,
  };
}
