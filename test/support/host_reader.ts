/**
 * Reads a host's trees the plain way, without the plugin's code and without the fake host's: the second opinion that
 * both can be held against.
 *
 * @module
 */
import { existsSync, lstatSync, readdirSync, readFileSync, realpathSync } from "node:fs";
import { basename, join } from "node:path";

/** One HCA as the class directories show it. */
export interface ReadHca {
  readonly name: string;
  readonly nodeGuid: string;
  readonly pci: string | null;
  readonly uverbs: string | null;
  readonly umads: readonly string[];
  readonly issms: readonly string[];
  readonly ports: readonly string[];
}

function list(path: string): string[] {
  return existsSync(path) ? readdirSync(path) : [];
}

function text(...path: string[]): string {
  return readFileSync(join(...path), "utf8").trim();
}

/** Every HCA of `sysfsRoot`, sorted as numbers sort; a node that names no HCA throws. */
export function readHcas(sysfsRoot: string): ReadHca[] {
  const [hcas, verbs, mads] = ["infiniband", "infiniband_verbs", "infiniband_mad"].map((name) =>
    join(sysfsRoot, "class", name)
  ) as [string, string, string];
  const nodes = [...list(verbs).map((name) => [verbs, name]), ...list(mads).map((name) => [mads, name])]
    .filter(([, name]) => name !== "abi_version")
    .map(([directory = "", name = ""]) => ({ name, owner: text(directory, name, "ibdev") }));
  const names = list(hcas).sort((a, b) => a.localeCompare(b, "en", { numeric: true }));
  const stray = nodes.find((node) => !names.includes(node.owner));
  if (stray !== undefined) throw new Error(`${stray.name} belongs to ${stray.owner}, which is not there`);
  return names.map((name) => {
    const own = nodes.filter((node) => node.owner === name).map((node) => node.name)
      .sort((a, b) => a.localeCompare(b, "en", { numeric: true }));
    const device = join(hcas, name, "device");
    const real = existsSync(device) ? realpathSync(device) : null;
    return {
      name,
      nodeGuid: text(hcas, name, "node_guid"),
      pci: real?.split("/").findLast((part) => /^[0-9a-f]{4}:[0-9a-f]{2}:[0-9a-f]{2}\.[0-7]$/.test(part)) ?? null,
      uverbs: own.find((node) => node.startsWith("uverbs")) ?? null,
      umads: own.filter((node) => node.startsWith("umad")),
      issms: own.filter((node) => node.startsWith("issm")),
      ports: list(join(hcas, name, "ports")).sort().map((port) =>
        `${port} ${text(hcas, name, "ports", port, "state")} ${text(hcas, name, "ports", port, "phys_state")}`
      ),
    };
  });
}

/** Names below DEV_ROOT/infiniband, null when the directory is not there. */
export function readNodes(devRoot: string): string[] | null {
  const directory = join(devRoot, "infiniband");
  return existsSync(directory) ? readdirSync(directory).sort() : null;
}

/** Links of the tree that lead nowhere or out of it, and empty directories that the kernel would not leave behind. */
export function flaws(root: string): string[] {
  return readdirSync(root, { recursive: true, withFileTypes: true }).flatMap((entry) => {
    const path = join(entry.parentPath, entry.name);
    const glue = ["infiniband", "infiniband_verbs", "infiniband_mad", "net"].includes(basename(path));
    if (entry.isSymbolicLink()) {
      return existsSync(path) && realpathSync(path).startsWith(realpathSync(root)) ? [] : [`${path}: leads nowhere`];
    }
    if (entry.isDirectory() && glue && path.includes("/devices/") && readdirSync(path).length === 0) {
      return [`${path}: empty`];
    }
    return lstatSync(path).isFile() && entry.name.startsWith(".") ? [`${path}: a left-over`] : [];
  });
}
