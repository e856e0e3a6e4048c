/**
 * Character devices of HCAs: which uverbs, umad and issm node belongs to which HCA, and whether it exists in /dev.
 *
 * @module
 */
import { entries, fileNumber, list, readLine } from "./files.ts";
import { parseDev, parseNumber } from "./parse.ts";
import type { Turn } from "./turn.ts";
import type { UverbsNode } from "./types.ts";

/** umad and issm names of one port. */
export interface MadNodes {
  readonly umad: string | null;
  readonly issm: string | null;
}

/** Key of {@link readMads}: HCA and port number. */
export function portKey(hca: string, port: number): string {
  return `${hca}/${port}`;
}

/** Names in `DEV_ROOT/infiniband`, from a single listing; empty when there is no such directory. */
export function readDevNodes(devRoot: string): ReadonlySet<string> {
  return new Set(entries(`${devRoot}/infiniband`) ?? []);
}

/**
 * What a file in /dev is instead of the device with this number; null when it is that device, or cannot be examined. A
 * /dev that is a copy keeps nodes whose numbers another HCA has by now, and a container runtime leaves a directory where
 * it mounted a missing file. An ordinary file stands for a device on a simulated host.
 */
export function staleNode(path: string, number: string | null): string | null {
  const is = fileNumber(path);
  if (is === "directory") return "a directory";
  return is === null || number === null || is === number ? null : `device ${is}`;
}

/**
 * uverbs nodes by HCA name. `ibdev` is always read again, because the kernel reuses the lowest free number for a new
 * HCA. The rest is reused while the pair of names is unchanged.
 *
 * @param known the previous result, or an empty map to read everything
 * @param turn ends in between where there are many
 */
export async function readUverbs(
  sysfsRoot: string,
  devRoot: string,
  dev: ReadonlySet<string>,
  known: ReadonlyMap<string, UverbsNode>,
  turn: Turn,
): Promise<ReadonlyMap<string, UverbsNode>> {
  const dir = `${sysfsRoot}/class/infiniband_verbs`;
  const found = new Map<string, UverbsNode>();
  for (const name of entries(dir) ?? []) {
    if (!/^uverbs\d{1,6}$/.test(name)) continue; // abi_version is in the same directory
    if (turn.isOver) await turn.next();
    const hca = readLine(`${dir}/${name}/ibdev`);
    if (hca === null) continue;
    const before = known.get(hca);
    if (before?.name === name && before.stale === undefined && dev.has(name) === before.present) {
      found.set(hca, before);
      continue;
    }
    const abiVersion = before?.name === name ? before.abiVersion : parseNumber(readLine(`${dir}/${name}/abi_version`));
    const number = parseDev(readLine(`${dir}/${name}/dev`));
    const stale = dev.has(name) ? staleNode(`${devRoot}/infiniband/${name}`, number) : null;
    const present = dev.has(name) && stale === null;
    found.set(hca, { name, dev: number, abiVersion, present, ...stale === null ? {} : { stale } });
  }
  return found;
}

/**
 * umad and issm nodes of every port, limited to those that exist in /dev. There is one of each per port, not per HCA.
 * Either may be missing without a fault: RoCE ports have no issm, iWARP and EFA ports have neither
 * (kernel drivers/infiniband/core/user_mad.c).
 */
export async function readMads(
  sysfsRoot: string,
  devRoot: string,
  dev: ReadonlySet<string>,
  turn: Turn,
): Promise<ReadonlyMap<string, MadNodes>> {
  const dir = `${sysfsRoot}/class/infiniband_mad`;
  const found = new Map<string, MadNodes>();
  for (const name of list(dir)) {
    const kind = name.match(/^(umad|issm)\d{1,6}$/)?.[1];
    if (kind === undefined || !dev.has(name)) continue;
    if (turn.isOver) await turn.next();
    if (staleNode(`${devRoot}/infiniband/${name}`, parseDev(readLine(`${dir}/${name}/dev`))) !== null) continue;
    const hca = readLine(`${dir}/${name}/ibdev`);
    const port = parseNumber(readLine(`${dir}/${name}/port`));
    if (hca === null || port === null) continue;
    const key = portKey(hca, port);
    const before = found.get(key) ?? { umad: null, issm: null };
    found.set(key, kind === "umad" ? { ...before, umad: name } : { ...before, issm: name });
  }
  return found;
}
