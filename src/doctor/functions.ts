/**
 * Physical functions whose virtual functions are configured.
 *
 * @module
 */
import { join } from "node:path";
import { isDirectory, linkName, list, readLine } from "../hca/files.ts";
import { parseNumber } from "../hca/parse.ts";
import { countVfs } from "../hca/pci.ts";
import type { ResourceSpec, Selector } from "../pool/spec.ts";

/** A physical function named in the configuration. */
export interface WantedFunction {
  readonly resource: string;
  /** The name in the configuration: a net device or a PCI address. */
  readonly name: string;
  /** VFs that it has now; null when there is no such interface or it does not support virtual functions. */
  readonly vfs: number | null;
  /** `sriov_totalvfs` */
  readonly most: number | null;
  /** The file that creates virtual functions, if it exists. */
  readonly file: string | null;
  /** What it is instead: "no such interface (there are eth0, eth1)", "a virtual function itself"; otherwise null. */
  readonly instead: string | null;
}

/** The functions named by `masters` and ranges of `pfs`; globs are ignored, because they name no specific function. */
export function readWantedFunctions(specs: readonly ResourceSpec[], sysfsRoot: string): readonly WantedFunction[] {
  return specs.flatMap((spec) =>
    [...new Set(spec.select.flatMap((one) => [...one.masters ?? [], ...vfRanges(one)]))]
      .filter((name) => !/[*?]/.test(name))
      .map((name) => ({ resource: spec.name, name, ...readFunction(sysfsRoot, name) }))
  );
}

/** `pfs` without a VF range also matches the physical function itself and is ignored. */
function vfRanges({ pfs }: Selector): readonly string[] {
  return (pfs ?? []).filter(({ vfs }) => vfs !== null).map(({ pf }) => pf);
}

function readFunction(sysfsRoot: string, name: string): Omit<WantedFunction, "resource" | "name"> {
  const none = { vfs: null, most: null, file: null };
  const isAddress = /^[0-9a-f]{4,8}:[0-9a-f]{2}:[0-9a-f]{2}\.[0-7]$/i.test(name);
  const dir = join(sysfsRoot, isAddress ? `bus/pci/devices/${name}` : `class/net/${name}/device`);
  if (!isDirectory(isAddress ? dir : join(sysfsRoot, "class/net", name))) {
    const there = isAddress ? "" : ` (there are ${list(join(sysfsRoot, "class/net")).join(", ") || "none"})`;
    return { ...none, instead: `no such ${isAddress ? "PCI function" : "interface"}${there}` };
  }
  const most = parseNumber(readLine(join(dir, "sriov_totalvfs")));
  if (most === null || most === 0) {
    const what = linkName(join(dir, "physfn")) === null ? "a function without SR-IOV" : "a virtual function itself";
    return { ...none, instead: what };
  }
  const file = join(dir, "sriov_numvfs");
  return { vfs: countVfs(dir) ?? 0, most, file, instead: null };
}
