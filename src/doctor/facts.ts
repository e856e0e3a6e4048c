/**
 * Everything the doctor judges, gathered once: a value, so that the checks are pure and can be tested on any machine.
 *
 * @module
 */
import { accessSync, constants, readFileSync, statSync } from "node:fs";
import { join, resolve } from "node:path";
import { KUBELET_SOCKET } from "../kubelet/api.ts";
import { exists, isDirectory, list, readLine } from "../hca/files.ts";
import { checkSocketPath, identityOf, isAlive, socketName } from "../kubelet/socket_file.ts";
import { registeredResources } from "../checkpoint.ts";
import type { Survey } from "../cli/survey.ts";
import type { Values } from "../cli/flags.ts";

/** How a directory can be used by this process. */
export type DirectoryState = "missing" | "no directory" | "read-only" | "writable";

export interface Facts {
  readonly survey: Survey;
  /** Modules that are loaded, of those that matter (a built-in one counts). */
  readonly modules: readonly string[];
  readonly sysfsRoot: string;
  readonly devRoot: string;
  /** Whether /dev/infiniband can be seen, under the dev-root and at the fixed path of libibverbs. */
  readonly devDirectory: boolean;
  /** Provider libraries in this image; null when their directory is not there. */
  readonly providers: readonly string[] | null;
  readonly kubelet: {
    readonly dir: string;
    readonly state: DirectoryState;
    readonly socket: "answers" | "refuses" | "missing";
  };
  /** Socket paths that are too long, in sentences. */
  readonly longPaths: readonly string[];
  /** Resources of ours that the kubelet has on record while nobody serves our socket for them. */
  readonly takenNames: readonly string[];
  /** RLIMIT_MEMLOCK of this process, bytes; Infinity for unlimited, null when unknown. */
  readonly memlock: number | null;
  /** SELinux context of this process; null where SELinux is off. */
  readonly selinux: string | null;
  readonly cdi: { readonly dir: string; readonly state: DirectoryState };
  /** fs.inotify.max_user_instances; null when unknown. */
  readonly inotifyInstances: number | null;
}

const MODULES = [
  "ib_core",
  "ib_uverbs",
  "ib_umad",
  "rdma_ucm",
  "rdma_cm",
  "mlx5_ib",
  "mlx4_ib",
  "irdma",
  "bnxt_re",
  "efa",
  "rdma_rxe",
];

/** Debian's, Fedora's and Alpine's places for provider libraries. */
const PROVIDER_DIRS = [
  "/usr/lib/x86_64-linux-gnu/libibverbs",
  "/usr/lib/aarch64-linux-gnu/libibverbs",
  "/usr/lib/powerpc64le-linux-gnu/libibverbs",
  "/usr/lib64/libibverbs",
  "/usr/lib/libibverbs",
];

/** Looks everywhere and changes nothing. */
export async function gatherFacts(values: Values, survey: Survey): Promise<Facts> {
  const sysfsRoot = resolve(values["sysfs-root"]);
  const devRoot = resolve(values["dev-root"]);
  const kubeletDir = resolve(values["kubelet-dir"]);
  const kubeletSocket = join(kubeletDir, KUBELET_SOCKET);
  const registered = registeredResources(kubeletDir);
  const takenNames: string[] = [];
  for (const { name } of survey.specs) {
    if (registered.has(name) && !await isAlive(join(kubeletDir, socketName(name)))) takenNames.push(name);
  }
  const providers = PROVIDER_DIRS.find(isDirectory);
  return {
    survey,
    modules: MODULES.filter((name) => exists(join(sysfsRoot, "module", name))),
    sysfsRoot,
    devRoot,
    devDirectory: isDirectory(join(devRoot, "infiniband")),
    providers: providers === undefined ? null : list(providers),
    kubelet: {
      dir: kubeletDir,
      state: stateOf(kubeletDir),
      socket: identityOf(kubeletSocket) === null ? "missing" : await isAlive(kubeletSocket) ? "answers" : "refuses",
    },
    longPaths: survey.specs.flatMap(({ name }) =>
      sentenceOf(() => checkSocketPath(join(kubeletDir, socketName(name))))
    ),
    takenNames,
    memlock: memlock(),
    selinux: readLine("/proc/self/attr/current")?.replace(/^unconfined$/, "") || null,
    cdi: { dir: resolve(values["cdi-dir"]), state: stateOf(resolve(values["cdi-dir"])) },
    inotifyInstances: numberIn("/proc/sys/fs/inotify/max_user_instances"),
  };
}

function stateOf(dir: string): DirectoryState {
  try {
    if (!statSync(dir).isDirectory()) return "no directory";
  } catch {
    return "missing";
  }
  try {
    accessSync(dir, constants.W_OK | constants.X_OK);
    return "writable";
  } catch {
    return "read-only";
  }
}

/** The soft limit in /proc/self/limits: "Max locked memory  8388608  8388608  bytes". */
function memlock(): number | null {
  try {
    const line = readFileSync("/proc/self/limits", "utf8").split("\n").find((one) =>
      one.startsWith("Max locked memory")
    );
    const soft = line?.slice("Max locked memory".length).trim().split(/\s+/)[0];
    return soft === undefined ? null : soft === "unlimited" ? Infinity : Number(soft);
  } catch {
    return null;
  }
}

function numberIn(path: string): number | null {
  const text = readLine(path);
  return text !== null && /^\d+$/.test(text) ? Number(text) : null;
}

function sentenceOf(check: () => void): string[] {
  try {
    check();
    return [];
  } catch (error) {
    return [(error as Error).message];
  }
}
