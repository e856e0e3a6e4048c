/**
 * Character devices of HCAs: which uverbs, umad and issm node belongs to which HCA, and whether it exists in /dev.
 *
 * @module
 */
import { entries, list, readLine } from "./files.ts";
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
 * uverbs nodes by HCA name. `ibdev` is always read again, because the kernel reuses the lowest free number for a new
 * HCA. The rest is reused while the pair of names is unchanged.
 *
 * @param known the previous result, or an empty map to read everything
 * @param turn ends in between where there are many
 */
export async function readUverbs(
  sysfsRoot: string,
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
    const present = dev.has(name);
    if (before?.name === name) {
      found.set(hca, before.present === present ? before : { ...before, present });
    } else {
      const abiVersion = parseNumber(readLine(`${dir}/${name}/abi_version`));
      found.set(hca, { name, dev: parseDev(readLine(`${dir}/${name}/dev`)), abiVersion, present });
    }
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
  dev: ReadonlySet<string>,
  turn: Turn,
): Promise<ReadonlyMap<string, MadNodes>> {
  const dir = `${sysfsRoot}/class/infiniband_mad`;
  const found = new Map<string, MadNodes>();
  for (const name of list(dir)) {
    const kind = name.match(/^(umad|issm)\d{1,6}$/)?.[1];
    if (kind === undefined || !dev.has(name)) continue;
    if (turn.isOver) await turn.next();
    const hca = readLine(`${dir}/${name}/ibdev`);
    const port = parseNumber(readLine(`${dir}/${name}/port`));
    if (hca === null || port === null) continue;
    const key = portKey(hca, port);
    const before = found.get(key) ?? { umad: null, issm: null };
    found.set(key, kind === "umad" ? { ...before, umad: name } : { ...before, issm: name });
  }
  return found;
}
