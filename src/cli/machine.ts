/**
 * Creates the machine and the resources from the flags. Shared by `run`, `list` and `doctor`, so that all use the same.
 *
 * @module
 */
import { join, resolve } from "node:path";
import { env } from "node:process";
import type { DiscoverySources } from "../hca/discover.ts";
import { exists, isDirectory, list, readLine } from "../hca/files.ts";
import { isKernelsOwn } from "../hca/sysfs.ts";
import { readNetnsMode } from "../hca/netns_mode.ts";
import { parseNumber } from "../hca/parse.ts";
import { countVfs } from "../hca/pci.ts";
import { openVerbs, type Verbs } from "../hca/verbs.ts";
import { whereNodesAre, whoseTreeItReads } from "../hca/verbs_nodes.ts";
import type { MistakeCode } from "../config/mistake_codes.ts";
import { formatMistakes, type Mistake, type Problem } from "../config/mistakes.ts";
import { DEFAULT_SPEC, type ResourceSpec } from "../pool/spec.ts";
import type { Places } from "../doctor/facts.ts";
import type { Values } from "./flags.ts";

/**
 * The flags or the configuration are wrong; the message has a line with a sentence and a code for each mistake, and the
 * process exits with status 2.
 */
export class UsageError extends Error {
  override readonly name = "UsageError";
  constructor(readonly problems: readonly Problem[]) {
    super(formatMistakes(problems));
  }
}

/** The resources from the flags or the configuration file. */
export interface Wanted {
  readonly specs: readonly ResourceSpec[];
  /** Milliseconds between timer scans. */
  readonly rescanMs: number;
  /** The same for people, with its origin: "5 s (--rescan)". */
  readonly rescan: string;
  /** What is valid in the configuration but probably not intended. */
  readonly warnings: readonly Mistake[];
}

const RESCAN_SECONDS = 30;

/**
 * Reads the flags, and the configuration file if there is one.
 * @throws {UsageError} with every mistake of the file, or the one of the flags
 */
export async function wanted(values: Values): Promise<Wanted> {
  const specs = values.config === undefined ? null : await fromFile(values.config, values["resource-prefix"]);
  const base = specs?.resources ?? [fromFlags(values)];
  const written = specs?.rescanSeconds ?? null;
  const flag = values.rescan === undefined ? null : Number(values.rescan);
  const seconds = flag ?? written ?? RESCAN_SECONDS;
  const source = flag !== null ? "--rescan" : written !== null ? "the configuration" : "default";
  const overridden = flag !== null && written !== null && written !== flag && !isPeersDefault(specs);
  return {
    specs: values.cdi ? base.map((spec) => ({ ...spec, cdi: true })) : base,
    rescanMs: seconds * 1_000,
    rescan: `${seconds === 0 ? "never" : `${seconds} s`} (${source})`,
    warnings: [
      ...specs?.warnings ?? [],
      ...overridden ? [rescanOverridden(values, written)] : [],
    ],
  };
}

function rescanOverridden({ config, rescan }: Values, written: number): Mistake {
  const message = `it sets a rescan every ${written} s, but --rescan ${rescan} takes precedence`;
  return { file: config!, line: 0, column: 0, path: "", code: "no-effect", message, hint: "remove the flag" };
}

/** One minute is the shared plugin's default and not a choice of the user. */
function isPeersDefault(config: { readonly format: string; readonly rescanSeconds: number | null } | null): boolean {
  return config?.format === "shared-device-plugin" && config.rescanSeconds === 60;
}

async function fromFile(path: string, resourcePrefix: string | undefined) {
  // The parser and the schema cost start-up time and memory, which a plugin without a file does not need.
  const { loadConfig } = await import("../config/mod.ts");
  const result = await loadConfig(path, resourcePrefix === undefined ? {} : { resourcePrefix });
  if (!result.ok) throw new UsageError(result.mistakes);
  return result.config;
}

function fromFlags(values: Values): ResourceSpec {
  const select = values.master === undefined ? [] : [{ masters: [values.master] }];
  const base = { ...DEFAULT_SPEC, name: values["resource-name"], select };
  return values.api === "dra" ? { ...base, api: "dra", ids: "pci" } : base;
}

/**
 * Checks that -master names a PF with VFs: with a wrong name the plugin would silently offer nothing.
 * @param offered whether the kubelet has devices of the resource: then the name was valid before, and a missing
 *   interface is in a pod
 * @throws {UsageError} with what the interface is instead, and a fix
 */
export function checkMaster(sysfsRoot: string, master: string, offered: boolean): void {
  const dir = join(sysfsRoot, "class/net", master);
  const refuse = (code: MistakeCode, message: string, hint: string | null = null): never => {
    throw new UsageError([{ code, path: "--master", message: `-master ${master}: ${message}`, hint }]);
  };
  if (!exists(dir)) {
    if (offered) return;
    const there = list(join(sysfsRoot, "class/net")).join(", ") || "none";
    refuse("no-such-interface", "this network interface does not exist", `there are ${there}`);
  }
  if (parseNumber(readLine(join(dir, "device/sriov_totalvfs"))) === null) {
    const what = isDirectory(join(dir, "device/physfn"))
      ? "itself a virtual function"
      : "not a physical function with SR-IOV";
    refuse("no-vfs", `the interface is ${what}, so it has no virtual functions to offer`);
  }
  if ((countVfs(join(dir, "device")) ?? 0) === 0) {
    const command = `echo 4 > ${join(dir, "device/sriov_numvfs")}`;
    refuse("no-vfs", "the interface has no virtual functions", `create some first (${command})`);
  }
}

/** The machine, with libibverbs opened; the caller disposes `verbs`. */
export function machine(values: Values): DiscoverySources & { readonly verbs: Verbs } {
  const sysfs = resolve(values["sysfs-root"]);
  const dev = resolve(values["dev-root"]);
  const real = sysfs === "/sys";
  // libibverbs reads this variable once, on first use, and ignores it where the kernel answers by netlink.
  if (!real) env.SYSFS_PATH ??= sysfs;
  return {
    roots: { sysfs, dev },
    verbs: whoseTreeItReads(whereNodesAre(openVerbs(), dev), sysfs),
    netnsMode: () => readNetnsMode(sysfs, { fake: !isKernelsOwn(sysfs) }),
  };
}

/** The directories set by the flags. */
export function places(values: Values): Places {
  return {
    sysfsRoot: resolve(values["sysfs-root"]),
    devRoot: resolve(values["dev-root"]),
    kubeletDir: resolve(values["kubelet-dir"]),
    registryDir: registryDir(values),
    cdiDir: resolve(values["cdi-dir"]),
  };
}

/** The plugin watcher's directory. */
export function registryDir(values: Values): string {
  return resolve(values["plugins-registry"] ?? join(resolve(values["kubelet-dir"]), "../plugins_registry"));
}
