/**
 * The facts that the doctor checks, gathered once as a value, so that the checks are pure and testable on any machine.
 *
 * @module
 */
import { dirname, join } from "node:path";
import { runtimeName } from "../text/runtime_name.ts";
import type { Inventory } from "../agent/inventory.ts";
import { readRuleCounters, type RuleCounters } from "../agent/rule_counters.ts";
import type { Mistake } from "../config/mistakes.ts";
import { isDirectory, readLine } from "../hca/files.ts";
import { isKernelsOwn } from "../hca/sysfs.ts";
import { usesCdi } from "./check_limits.ts";
import type { DraFacts } from "./dra_facts.ts";
import { readWantedFunctions, type WantedFunction } from "./functions.ts";
import { type KubeletFacts, readKubelet } from "./kubelet_facts.ts";
import { type Link, readLinks } from "./links.ts";
import { type NodeFile, readNodeFiles } from "./node_files.ts";
import { type ProviderFiles, readProviders } from "./provider_files.ts";
import type { ReportFacts } from "./report_facts.ts";
import { type DirectoryState, isHidden, openRights, type Rights } from "./rights.ts";
import { textIn } from "../kubelet/files.ts";

export interface Facts {
  readonly inventory: Inventory;
  /** Warnings about the configuration file. */
  readonly configWarnings: readonly Mistake[];
  /** Directories that the plugin needs and Deno's permissions do not allow. */
  readonly refused: readonly string[];
  /** Checks that were not made because Deno's permissions do not allow them. */
  readonly hidden: readonly string[];
  /** Loaded modules among those that matter (a built-in module counts). */
  readonly modules: readonly string[];
  /** The runtime and its version: "Deno 2.9.3". */
  readonly runtime: string;
  readonly sysfsRoot: string;
  readonly devRoot: string;
  /** False for a tree that is not the kernel's own; its /dev then contains no devices. */
  readonly realMachine: boolean;
  /** Whether /dev/infiniband exists under the dev-root. */
  readonly devDirectory: boolean;
  readonly nodes: ReadonlyMap<string, NodeFile>;
  readonly providers: ProviderFiles | "missing" | "hidden";
  readonly functions: readonly WantedFunction[];
  /** Net devices of HCAs that are Unhealthy. */
  readonly links: ReadonlyMap<string, Link>;
  /** The counters that `health.errors` names. */
  readonly ruleCounters: RuleCounters;
  readonly kubelet: KubeletFacts;
  /** RLIMIT_MEMLOCK of this process, bytes; Infinity for unlimited, null when unknown. */
  readonly memlock: number | null;
  /** SELinux context of this process; null where SELinux is off. */
  readonly selinux: string | null;
  /** `state` is that of the directory or, if it does not exist, of the directory in which it would be created. */
  readonly cdi: { readonly dir: string; readonly state: DirectoryState };
  /** fs.inotify.max_user_instances; null when unknown. */
  readonly inotifyInstances: number | null;
  /** Null where nothing has to do with DRA. */
  readonly dra: DraFacts | null;
  /** Null where neither events nor labels are asked for. */
  readonly reports: ReportFacts | null;
}

/** Directories that the plugin uses, as absolute paths. */
export interface Places {
  readonly sysfsRoot: string;
  readonly devRoot: string;
  readonly kubeletDir: string;
  readonly registryDir: string;
  readonly cdiDir: string;
}

const MODULES = ["ib_core", "ib_uverbs", "ib_umad", "rdma_ucm"];

/** Gathers the facts without changing anything. */
export async function gatherFacts(
  places: Places,
  inventory: Inventory,
  configWarnings: readonly Mistake[],
): Promise<Omit<Facts, "dra" | "reports">> {
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
      ...cdiState === "sandboxed" && inventory.specs.some(usesCdi) ? [cdiDir] : [],
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
    ruleCounters: await readRuleCounters(sysfsRoot, inventory),
    kubelet,
    memlock: rights.memlock() ?? memlockOf(textIn("/proc/self/limits")),
    selinux: selinuxContext(textIn("/proc/self/attr/current")),
    cdi: { dir: cdiDir, state: cdiState },
    inotifyInstances: numberIn("/proc/sys/fs/inotify/max_user_instances"),
  };
}

/** State of the directory, or of the nearest existing parent in which it can be created. */
function placeFor(dir: string, rights: Rights): DirectoryState {
  const state = rights.stateOf(dir);
  if (state !== "missing" || dirname(dir) === dir) return state;
  const above = placeFor(dirname(dir), rights);
  // Deno's permissions allow this directory but not its parents, so the kernel's answer is not known.
  return above === "sandboxed" ? "unknown" : above;
}

/** The soft limit in /proc/self/limits: "Max locked memory  8388608  8388608  bytes". */
export function memlockOf(limits: string | null): number | null {
  const soft = limits?.match(/^Max locked memory\s+(\d+|unlimited)\s/m)?.[1];
  return soft === undefined ? null : soft === "unlimited" ? Infinity : Number(soft);
}

/**
 * The SELinux context in the file ("system_u:system_r:container_t:s0:c1,c2", NUL at the end), or null: AppArmor writes
 * its profile ("cri-containerd.apparmor.d (enforce)") to the same file.
 */
export function selinuxContext(current: string | null): string | null {
  return current?.match(/^[^\s:]+:[^\s:]+:[^\s:]+(:[^\s\0]+)?(?=[\s\0]*$)/)?.[0] ?? null;
}

function numberIn(path: string): number | null {
  const text = readLine(path);
  return text !== null && /^\d+$/.test(text) ? Number(text) : null;
}
