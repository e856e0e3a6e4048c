/**
 * Character devices of an HCA beside its verbs nodes. Some adapters need one: Omni-Path's PSM2 opens /dev/hfi1_0,
 * Slingshot's libcxi opens /dev/cxi0. The owner is read from sysfs, as the class device whose parent is the HCA's PCI
 * function, so a container never gets the node of another HCA.
 *
 * @module
 */
import { basename, dirname } from "node:path";
import { printable } from "../text/printable.ts";
import { directories, entries, exists, lines, list, readLine, resolve } from "./files.ts";
import { staleNode } from "./nodes.ts";
import { isPciAddress, parseDev } from "./parse.ts";
import type { ClassNode, HcaKind } from "./types.ts";

/**
 * Device classes that user space needs to use the HCA, with a pattern for the names, because a class can also contain a
 * driver's diagnostic devices. `hfi1_user` and `cxi_user` are registered by today's drivers; the others are names used
 * by older and out-of-tree drivers. The path of the node is DEVNAME in the device's uevent file; without it, /dev/NAME.
 */
const COMPANIONS: ReadonlyMap<string, RegExp> = new Map([
  ["hfi1_user", /^hfi1_\d+$/],
  ["hfi1", /^hfi1_\d+$/],
  ["hfi2_user", /^hfi2_\d+$/],
  ["hfi2", /^hfi2_\d+$/],
  ["cxi_user", /^cxi\d+$/],
  ["cxi", /^cxi\d+$/],
  ["ipath", /^ipath\d+$/],
]);

/** Drivers whose HCAs have such a device once the driver has initialised, with its class. */
const BY_DRIVER: ReadonlyMap<string, string> = new Map([["hfi1", "hfi1_user"], ["hfi2", "hfi2_user"], [
  "cxi_ss1",
  "cxi_user",
]]);

/** Directories of a PCI function that are not classes of its own character devices, or are read elsewhere. */
const NOT_CLASSES = new Set(["infiniband", "infiniband_verbs", "infiniband_mad", "net", "power", "msi_irqs"]);

/** Whether user space needs nodes of this class to use the HCA. */
export function isCompanion(node: ClassNode): boolean {
  return COMPANIONS.get(node.class)?.test(node.name) ?? false;
}

/** The class of the device that the HCA needs and does not have (yet); null when nothing is missing. */
export function lackingClass(hca: Pick<Owner, "pci"> & { readonly classNodes: readonly ClassNode[] }): string | null {
  return hca.classNodes.some(isCompanion) ? null : BY_DRIVER.get(hca.pci?.driver ?? "") ?? null;
}

/** The properties of an HCA that {@link readClassNodes} needs. */
interface Owner {
  readonly name: string;
  readonly kind: HcaKind;
  readonly pci: { readonly address: string; readonly driver: string | null } | null;
}

/** Names in the classes of companions. Valid for one scan, and read once for all of its HCAs: most classes are missing. */
export class ClassNames {
  readonly #sysfsRoot: string;
  readonly #names = new Map<string, readonly string[]>();

  constructor(sysfsRoot: string) {
    this.#sysfsRoot = sysfsRoot;
  }

  of(kind: string): readonly string[] {
    let names = this.#names.get(kind);
    if (names === undefined) {
      names = entries(`${this.#sysfsRoot}/class/${kind}`) ?? [];
      this.#names.set(kind, names);
    }
    return names;
  }
}

/** The nodes of the HCA's PCI function, in natural order of class and name. */
export function readClassNodes(
  sysfsRoot: string,
  devRoot: string,
  hca: Owner,
  classNames = new ClassNames(sysfsRoot),
): readonly ClassNode[] {
  // A sub-function's parent is the PF, whose nodes do not belong to the sub-function. Software HCAs have no PCI
  // function.
  if (hca.pci === null || hca.kind === "sf" || hca.kind === "virtual") return [];
  const dir = `${sysfsRoot}/bus/pci/devices/${hca.pci.address}`;
  const found = new Map<string, ClassNode>();
  const add = (kind: string, name: string, entry: string) => {
    const node = read(sysfsRoot, devRoot, kind, name, entry);
    // A node can be listed in two classes of which only one has its device numbers (cxi and cxi_user).
    if (node !== null && (found.get(node.path)?.dev ?? null) === null) found.set(node.path, node);
  };
  for (const kind of directories(dir)) {
    if (NOT_CLASSES.has(kind) || isPciAddress(kind)) continue;
    for (const name of list(`${dir}/${kind}`)) add(kind, name, `bus/pci/devices/${hca.pci.address}/${kind}/${name}`);
  }
  for (const [kind, names] of COMPANIONS) {
    for (const name of classNames.of(kind)) {
      if (names.test(name) && isOf(sysfsRoot, kind, name, hca.name, hca.pci.address)) {
        add(kind, name, `class/${kind}/${name}`);
      }
    }
  }
  return [...found.values()].sort((a, b) => `${a.class} ${a.name}` < `${b.class} ${b.name}` ? -1 : 1);
}

/**
 * Updates the nodes with the current state of /dev; returns the same list when nothing changed. Reads the classes again
 * when the device numbers of a node changed in sysfs, and while the driver has not registered the node that its HCA
 * needs.
 */
export function refreshClassNodes(
  sysfsRoot: string,
  devRoot: string,
  hca: Owner & { readonly classNodes: readonly ClassNode[] },
  classNames = new ClassNames(sysfsRoot),
): readonly ClassNode[] {
  const moved = hca.classNodes.some(({ entry, dev }) => parseDev(readLine(`${sysfsRoot}/${entry}/dev`)) !== dev);
  if (moved || lackingClass(hca) !== null) return readClassNodes(sysfsRoot, devRoot, hca, classNames);
  if (hca.classNodes.length === 0) return hca.classNodes;
  const next = hca.classNodes.map((node) => {
    const present = isThere(devRoot, node.path, node.dev);
    return present === node.present ? node : { ...node, present };
  });
  return next.every((node, i) => node === hca.classNodes[i]) ? hca.classNodes : next;
}

/**
 * Whether the class entry belongs to the HCA. The kernel's own hfi1 driver gives its class devices no parent
 * (`device_create` with NULL); the entry then has the name of the verbs device.
 */
function isOf(sysfsRoot: string, kind: string, name: string, hca: string, address: string): boolean {
  const entry = `${sysfsRoot}/class/${kind}/${name}`;
  const parent = functionAbove(resolve(`${entry}/device`)) ?? functionAbove(resolve(entry));
  return parent === null ? name === hca : parent === address;
}

/** PCI address of the function at or above a resolved path; null when there is none. */
function functionAbove(path: string | null): string | null {
  for (let dir = path; dir !== null && dir !== dirname(dir); dir = dirname(dir)) {
    if (isPciAddress(basename(dir))) return basename(dir);
  }
  return null;
}

function read(sysfsRoot: string, devRoot: string, kind: string, name: string, entry: string): ClassNode | null {
  const dev = parseDev(readLine(`${sysfsRoot}/${entry}/dev`));
  // In other classes, only entries with device numbers are device nodes: hwmon and the like have none.
  if (dev === null && !(COMPANIONS.get(kind)?.test(name) ?? false)) return null;
  const path = nodePath(`${sysfsRoot}/${entry}`) ?? `/dev/${printable(name)}`;
  return { class: kind, name, path, dev, entry, present: isThere(devRoot, path, dev) };
}

/** DEVNAME of the uevent file: the path of the node relative to /dev. */
function nodePath(entry: string): string | null {
  const name = lines(`${entry}/uevent`).find((line) => line.startsWith("DEVNAME="))?.slice("DEVNAME=".length) ?? "";
  return /^[\w.:-]+(\/[\w.:-]+)*$/.test(name) && !name.split("/").includes("..") ? `/dev/${name}` : null;
}

/** Whether /dev has the node, and not another device under its name. */
function isThere(devRoot: string, path: string, dev: string | null): boolean {
  const file = `${devRoot}${path.slice("/dev".length)}`;
  return exists(file) && staleNode(file, dev) === null;
}
