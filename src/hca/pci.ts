/**
 * The device below an HCA: its PCI function, the place in the PCIe tree, and PF, VF and sub-function relations.
 *
 * @module
 */
import { basename, dirname, join } from "node:path";
import { entries, exists, linkName, list, readLine, readOptional, resolve } from "./files.ts";
import { isPciAddress, parseNumber, parsePciId } from "./parse.ts";
import type { HcaKind, PciFunction } from "./types.ts";

/** The target of `class/infiniband/NAME/device`. */
export interface ParentDevice {
  readonly kind: HcaKind;
  readonly pci: PciFunction | null;
  readonly sfNumber: number | null;
  /** Directory of the `device` link itself, resolved: the PCI function's or the auxiliary device's. */
  readonly dir: string | null;
  /** Directory of the PCI function; null when there is none. */
  readonly functionDir: string | null;
  /** Directory of the PF when this is a VF. */
  readonly pfDir: string | null;
}

/**
 * Follows the `device` link of an HCA directory.
 *
 * The link of a sub-function ends at an auxiliary device ("mlx5_core.sf.4") whose parent is the PF or VF that carries
 * it; vendor, driver and NUMA node are those of the parent. Soft-RoCE has no link and is `virtual`.
 *
 * @param vfIndices finds VF numbers by PF directory; shared by all HCAs of a scan, because a PF can have hundreds
 */
export function readParentDevice(hcaDir: string, vfIndices: VfIndices): ParentDevice {
  const dir = resolve(join(hcaDir, "device"));
  if (dir === null) return { kind: "virtual", pci: null, sfNumber: null, dir: null, functionDir: null, pfDir: null };
  let functionDir = dir;
  while (!isPciAddress(basename(functionDir)) && dirname(functionDir) !== functionDir) {
    functionDir = dirname(functionDir);
  }
  const physfn = join(functionDir, "physfn");
  const pf = exists(physfn) ? resolve(physfn) : null;
  // A function without SR-IOV, or the VF itself, is not a PF.
  const isPf = pf !== null && pf !== functionDir && isPciAddress(basename(pf)) &&
    (exists(join(pf, "sriov_totalvfs")) || vfIndices.of(pf, basename(functionDir)) !== null);
  const pfDir = isPf ? pf : null;
  const pci = isPciAddress(basename(functionDir)) ? readFunction(functionDir, pfDir, vfIndices) : null;
  const found = { pci, dir, functionDir: pci === null ? null : functionDir, pfDir };
  const sfNumber = functionDir === dir ? null : parseNumber(readLine(join(dir, "sfnum")));
  const isSf = sfNumber !== null || /\.sf\.\d+$/.test(basename(dir));
  if (isSf) return { kind: "sf", sfNumber, ...found };
  if (pci === null) return { kind: "virtual", sfNumber, ...found };
  return { kind: pci.physfn === null ? "pf" : "vf", sfNumber, ...found };
}

function readFunction(dir: string, pf: string | null, vfIndices: VfIndices): PciFunction {
  const address = basename(dir);
  const numaNode = parseNumber(readLine(join(dir, "numa_node")));
  const sriovTotalVfs = parseNumber(readOptional(join(dir, "sriov_totalvfs")));
  const parts = dirname(dir).split("/");
  return {
    address,
    vendor: parsePciId(readLine(join(dir, "vendor"))),
    device: parsePciId(readLine(join(dir, "device"))),
    driver: linkName(join(dir, "driver")),
    modalias: readLine(join(dir, "modalias")),
    numaNode: numaNode === null || numaNode < 0 ? null : numaNode,
    path: parts.filter((part) => isPciAddress(part) || /^pci[0-9a-f]{4,8}:[0-9a-f]{2}$/i.test(part)),
    physfn: pf === null ? null : basename(pf),
    vfIndex: pf === null ? null : vfIndices.of(pf, address),
    pfNetdevs: [],
    sriovNumVfs: sriovTotalVfs === null ? null : countVfs(dir),
    sriovTotalVfs,
  };
}

/**
 * Number of VFs that a function has now, by its links to them; null when the directory cannot be listed. The kernel
 * answers `sriov_numvfs` under the device's lock (drivers/pci/iov.c, 2019 to 2024), which the making of VFs holds
 * until the driver has set up the last one: that can take minutes, in which this process would do nothing else.
 */
export function countVfs(dir: string): number | null {
  return entries(dir)?.filter((name) => VIRTFN.test(name)).length ?? null;
}

const VIRTFN = /^virtfn\d+$/;

/** VF numbers of PFs, from their `virtfnN` links. Valid for one scan. */
export class VfIndices {
  readonly #byPf = new Map<string, ReadonlyMap<string, number>>();

  /** The N of the PF's `virtfnN` link to this address; `null` when there is none. */
  of(pfDir: string, address: string): number | null {
    let known = this.#byPf.get(pfDir);
    if (known === undefined) {
      known = new Map(
        list(pfDir).filter((name) => VIRTFN.test(name))
          .map((name) => [linkName(join(pfDir, name)) ?? "", Number(name.slice("virtfn".length))]),
      );
      this.#byPf.set(pfDir, known);
    }
    return known.get(address) ?? null;
  }
}
