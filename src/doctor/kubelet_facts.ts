/**
 * The kubelet's directory and what is in it.
 *
 * @module
 */
import { connect } from "node:net";
import { join } from "node:path";
import { registeredResources } from "../kubelet/checkpoint.ts";
import { list } from "../hca/files.ts";
import { KUBELET_SOCKET } from "../kubelet/api.ts";
import { checkSocketPath, identityOf, socketName } from "../kubelet/socket_file.ts";
import type { ResourceSpec } from "../pool/spec.ts";
import { codeOf, type DirectoryState, isSandboxed, type Rights } from "./rights.ts";

/** What comes of connecting to a socket. `denied`: there may be a listener, but this process may not reach it. */
export type Knock = "answers" | "refuses" | "missing" | "denied";

export interface KubeletFacts {
  readonly dir: string;
  readonly state: DirectoryState;
  readonly socket: Knock;
  /** Socket paths that are too long, in sentences. */
  readonly longPaths: readonly string[];
  /** Resources of ours that the kubelet has on record while nobody serves our socket for them. */
  readonly takenNames: readonly string[];
  /** Sockets in the directory that are neither the kubelet's nor this plugin's. */
  readonly otherSockets: readonly string[];
}

/** @param registryDir the plugin watcher's directory, where the plugin's sockets may be instead */
export async function readKubelet(
  dir: string,
  registryDir: string,
  specs: readonly ResourceSpec[],
  rights: Rights,
): Promise<KubeletFacts> {
  const ours = new Set(specs.map(({ name }) => socketName(name)));
  const registered = registeredResources(dir);
  const takenNames: string[] = [];
  for (const { name } of specs.filter((spec) => registered.has(spec.name))) {
    const knocks = await Promise.all([dir, registryDir].map((place) => knock(join(place, socketName(name)))));
    // A socket that this process may not reach can well be served.
    if (!knocks.some((one) => one === "answers" || one === "denied")) takenNames.push(name);
  }
  return {
    dir,
    state: rights.stateOf(dir),
    socket: await knock(join(dir, KUBELET_SOCKET)),
    longPaths: specs.flatMap(({ name }) => sentenceOf(() => checkSocketPath(join(dir, socketName(name))))),
    takenNames,
    otherSockets: list(dir).filter((name) => name.endsWith(".sock") && name !== KUBELET_SOCKET && !ours.has(name)),
  };
}

/** Connects and hangs up at once; no request is made. */
export function knock(path: string): Promise<Knock> {
  if (identityOf(path) === null) return Promise.resolve("missing");
  return new Promise((resolve) => {
    const verdict = (error: unknown) =>
      isSandboxed(error) || ["EACCES", "EPERM"].includes(codeOf(error) ?? "") ? "denied" : "refuses";
    try {
      const socket = connect(path);
      socket.once("connect", () => {
        socket.destroy();
        resolve("answers");
      });
      socket.once("error", (error) => {
        socket.destroy();
        resolve(verdict(error));
      });
    } catch (error) {
      resolve(verdict(error)); // Deno's sandbox throws at once
    }
  });
}

function sentenceOf(check: () => void): string[] {
  try {
    check();
    return [];
  } catch (error) {
    return [(error as Error).message];
  }
}
