/**
 * Everything the doctor judges, gathered once: a value, so that the checks are pure and can be tested on any machine.
 *
 * @module
 */
import { readFileSync } from "node:fs";
import { dirname, join } from "node:path";
import { runtimeName } from "../text/runtime_name.ts";
import type { Inventory } from "../agent/inventory.ts";
import { isDirectory, readLine } from "../hca/files.ts";
import { isKernelsOwn } from "../hca/sysfs.ts";
import type { DraFacts } from "./dra_facts.ts";
import { readWantedFunctions, type WantedFunction } from "./functions.ts";
import { type KubeletFacts, readKubelet } from "./kubelet_facts.ts";
import { type Link, readLinks } from "./links.ts";
import { type NodeFile, readNodeFiles } from "./node_files.ts";
import { type ProviderFiles, readProviders } from "./provider_files.ts";
import { type DirectoryState, isHidden, openRights, type Rights } from "./rights.ts";

export interface Facts {
  readonly inventory: Inventory;
  /** What the configuration's reader had to say. */
  readonly configWarnings: readonly string[];
  /** Directories that the plugin itself needs and that Deno's permissions keep from it. */
  readonly refused: readonly string[];
  /** What Deno's permissions keep from the doctor alone: checks that were not made. */
  readonly hidden: readonly string[];
  /** Modules that are loaded, of those that matter (a built-in one counts). */
  readonly modules: readonly string[];
  /** What the plugin runs on, and its version: "Deno 2.9.3". */
  readonly runtime: string;
  readonly sysfsRoot: string;
  readonly devRoot: string;
  /** False for a tree that is not the kernel's own; nothing in its /dev is a device then. */
  readonly realMachine: boolean;
  /** Whether /dev/infiniband can be seen, under the dev-root. */
  readonly devDirectory: boolean;
  readonly nodes: ReadonlyMap<string, NodeFile>;
  readonly providers: ProviderFiles | "missing" | "hidden";
  readonly functions: readonly WantedFunction[];
  /** Net devices of HCAs that are Unhealthy. */
  readonly links: ReadonlyMap<string, Link>;
  readonly kubelet: KubeletFacts;
  /** RLIMIT_MEMLOCK of this process, bytes; Infinity for unlimited, null when unknown. */
  readonly memlock: number | null;
  /** SELinux context of this process; null where SELinux is off. */
  readonly selinux: string | null;
  /** `state`: of the directory, or, while there is none, of the place where it would be made. */
  readonly cdi: { readonly dir: string; readonly state: DirectoryState };
  /** fs.inotify.max_user_instances; null when unknown. */
  readonly inotifyInstances: number | null;
  /** Null where nothing has to do with DRA. */
  readonly dra: DraFacts | null;
}

/** Where the plugin was told to find things; absolute paths. */
export interface Places {
  readonly sysfsRoot: string;
  readonly devRoot: string;
  readonly kubeletDir: string;
  readonly registryDir: string;
  readonly cdiDir: string;
}

const MODULES = ["ib_core", "ib_uverbs", "ib_umad", "rdma_ucm"];

/** Reads everything and changes nothing. */
export async function gatherFacts(
  places: Places,
  inventory: Inventory,
  configWarnings: readonly string[],
): Promise<Omit<Facts, "dra">> {
  using rights = openRights();
  const { sysfsRoot, devRoot, kubeletDir, registryDir, cdiDir } = places;
  const kubelet = await readKubelet(kubeletDir, registryDir, inventory.specs, rights);
  const providers = readProviders();
  const hidden = [
    ...providers === "hidden" ? ["libibverbs' provider libraries"] : [],
    ...isHidden("/proc/self") ? ["SELinux, inotify (/proc)"] : [],
  ];
  const cdiState = placeFor(cdiDir, rights);
  return {
    inventory,
    configWarnings,
    refused: [
      ...[sysfsRoot, devRoot].filter(isHidden),
      ...kubelet.state === "sandboxed" ? [kubeletDir] : [],
      ...cdiState === "sandboxed" && inventory.specs.some((spec) => spec.cdi) ? [cdiDir] : [],
    ],
    hidden,
    modules: MODULES.filter((name) => isDirectory(join(sysfsRoot, "module", name))),
    runtime: runtimeName(),
    sysfsRoot,
    devRoot,
    realMachine: isKernelsOwn(sysfsRoot),
    devDirectory: isDirectory(join(devRoot, "infiniband")),
    nodes: readNodeFiles(devRoot),
    providers,
    functions: readWantedFunctions(inventory.specs, sysfsRoot),
    links: readLinks(sysfsRoot, inventory),
    kubelet,
    memlock: rights.memlock() ?? memlockOf(textOf("/proc/self/limits")),
    selinux: selinuxContext(textOf("/proc/self/attr/current")),
    cdi: { dir: cdiDir, state: cdiState },
    inotifyInstances: numberIn("/proc/sys/fs/inotify/max_user_instances"),
  };
}

/** State of the directory, or of the nearest one above it in which it can be made. */
function placeFor(dir: string, rights: Rights): DirectoryState {
  const state = rights.stateOf(dir);
  if (state !== "missing" || dirname(dir) === dir) return state;
  const above = placeFor(dirname(dir), rights);
  // The sandbox lets the plugin into this directory and hides those above it: only the kernel's answer is not known.
  return above === "sandboxed" ? "unknown" : above;
}

/** The soft limit in /proc/self/limits: "Max locked memory  8388608  8388608  bytes". */
export function memlockOf(limits: string | null): number | null {
  const soft = limits?.match(/^Max locked memory\s+(\d+|unlimited)\s/m)?.[1];
  return soft === undefined ? null : soft === "unlimited" ? Infinity : Number(soft);
}

/**
 * The context when the file holds SELinux's ("system_u:system_r:container_t:s0:c1,c2", NUL at the end); AppArmor writes
 * its profile ("cri-containerd.apparmor.d (enforce)") into the same file.
 */
export function selinuxContext(current: string | null): string | null {
  return current?.match(/^[^\s:]+:[^\s:]+:[^\s:]+(:[^\s\0]+)?(?=[\s\0]*$)/)?.[0] ?? null;
}

function textOf(path: string): string | null {
  try {
    return readFileSync(path, "utf8");
  } catch {
    return null; // EINVAL without a security module, or the sandbox
  }
}

function numberIn(path: string): number | null {
  const text = readLine(path);
  return text !== null && /^\d+$/.test(text) ? Number(text) : null;
}
