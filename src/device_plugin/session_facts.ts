/**
 * What a session decides on: the facts of one moment, read from the file system and from the server.
 *
 * @module
 */
import { existsSync } from "node:fs";
import { dirname, join } from "node:path";
import { KUBELET_SOCKET } from "../kubelet/api.ts";
import { type FileIdentity, identityOf, socketName } from "../kubelet/socket_file.ts";
import type { Timing } from "./session_options.ts";

/** What stays the same for the whole life of a session. */
export interface Plan {
  readonly resource: string;
  readonly kubeletDir: string;
  readonly registryDir: string;
  /** Whether to register with kubelet.sock when no plugin watcher comes. */
  readonly fallback: boolean;
  readonly timing: Timing;
}

/** Our server, when there is one. */
export interface ServerFacts {
  readonly identity: FileIdentity;
  /** Open ListAndWatch streams. */
  readonly streams: number;
  /** When it was started or probed last, whatever came of it; -Infinity when it is to be probed now. */
  readonly probedAt: number;
}

export interface Facts {
  readonly server: ServerFacts | null;
  /** What is at our socket's path; null when there is nothing. */
  readonly socket: FileIdentity | null;
  /** Whether the directory of our socket exists. */
  readonly socketDir: boolean;
  /** What is at kubelet.sock. */
  readonly kubelet: FileIdentity | null;
  /** Whether the kubelet's directory exists here: with the plugin watcher it need not be mounted. */
  readonly kubeletDir: boolean;
  /** What the probes of this pass have found, by the socket that was probed: whether it is served. */
  readonly served: ReadonlyMap<FileIdentity, boolean>;
}

/** The two ways to become known to the kubelet. */
export type Mode = "socket" | "watcher";

/** The path of our socket. */
export function socketPath({ resource, kubeletDir, registryDir }: Plan, mode: Mode): string {
  return join(mode === "watcher" ? registryDir : kubeletDir, socketName(resource));
}

/** The path of the kubelet's socket. */
export function kubeletPath({ kubeletDir }: Plan): string {
  return join(kubeletDir, KUBELET_SOCKET);
}

/** Reads the facts of this moment. */
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
    socketDir: existsSync(dirname(path)),
    kubelet: identityOf(kubeletPath(plan)),
    kubeletDir: existsSync(plan.kubeletDir),
    served,
  };
}
