/**
 * The kubelet's directory and its content.
 *
 * @module
 */
import { join } from "node:path";
import { registeredResources } from "../kubelet/checkpoint.ts";
import { list } from "../hca/files.ts";
import { KUBELET_SOCKET } from "../kubelet/api.ts";
import { checkSocketPath, socketName } from "../kubelet/socket_file.ts";
import { probeSocket, type SocketProbe } from "../kubelet/socket_probe.ts";
import type { ResourceSpec } from "../pool/spec.ts";
import type { DirectoryState, Rights } from "./rights.ts";

const MAY_BE_SERVED: ReadonlySet<SocketProbe> = new Set(["answers", "busy", "denied"]);

export interface KubeletFacts {
  readonly dir: string;
  readonly state: DirectoryState;
  readonly socket: SocketProbe;
  /** Socket paths that are too long, as sentences. */
  readonly longPaths: readonly string[];
  /** Resources of this plugin that the kubelet has registered while no process serves their socket. */
  readonly takenNames: readonly string[];
  /** Sockets in the directory that belong neither to the kubelet nor to this plugin. */
  readonly otherSockets: readonly string[];
}

/** @param registryDir the plugin watcher's directory, which may contain the plugin's sockets instead */
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
    const probes = await Promise.all([dir, registryDir].map((place) => probeSocket(join(place, socketName(name)))));
    // A socket that this process cannot connect to may be served.
    if (!probes.some((one) => MAY_BE_SERVED.has(one))) takenNames.push(name);
  }
  return {
    dir,
    state: rights.stateOf(dir),
    socket: await probeSocket(join(dir, KUBELET_SOCKET)),
    longPaths: specs.flatMap(({ name }) => sentenceOf(() => checkSocketPath(join(dir, socketName(name))))),
    takenNames,
    otherSockets: list(dir).filter((name) => name.endsWith(".sock") && name !== KUBELET_SOCKET && !ours.has(name)),
  };
}

function sentenceOf(check: () => void): string[] {
  try {
    check();
    return [];
  } catch (error) {
    return [(error as Error).message];
  }
}
