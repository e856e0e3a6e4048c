/**
 * One port of an HCA: its constant part, its live part, and its GID table.
 *
 * @module
 */
import { join } from "node:path";
import { entries, list, readLine, readSlow } from "./files.ts";
import { parseGid, parseLinkLayer, parseNumber, parsePhysState, parsePortState, parseRate } from "./parse.ts";
import type { Gid, Port } from "./types.ts";

/** The part of a port that its driver or firmware can change at any time. */
type LivePort = Pick<Port, "state" | "physState">;

/** What is known of a port that could not be asked. */
const NO_ANSWER: LivePort = { state: "unknown", physState: null };

/** Attributes that change less often than the state. */
type PortDetails = Pick<Port, "rate" | "rateGbps" | "lid" | "smLid" | "pkey0">;

/** What the firmware has answered about a port; no details where they are as before. */
export interface AskedPort extends LivePort {
  readonly details: PortDetails | null;
}

/**
 * Number of empty slots in a row that end a GID table. The kernel fills the lowest free slot first
 * (drivers/infiniband/core/cache.c), so slots after a long gap are empty; tables have 256 slots per port.
 */
const GAP = 32;

/** Port numbers of an HCA directory. */
export function portNumbers(hcaDir: string): readonly number[] {
  return list(join(hcaDir, "ports")).filter((name) => /^\d{1,3}$/.test(name)).map(Number);
}

/**
 * All that the firmware answers: may take arbitrarily long, or for ever.
 *
 * @param last as known, or as it is before it was read
 * @param hasDetails whether the details that belong to `last.state` are known and not wanted again
 */
export async function askPort(portDir: string, last: Port, hasDetails: boolean): Promise<AskedPort> {
  const { state, physState } = await readLive(portDir, last);
  return { state, physState, details: hasDetails && state === last.state ? null : await readDetails(portDir) };
}

/**
 * The port with what was answered about it. Without an answer it keeps what was known of it, but for its state.
 *
 * @param before the previous reading of the port
 */
export function withAnswer(port: Port, before: Port | undefined, answer: AskedPort | null, portDir: string): Port {
  if (answer === null) {
    const { linkLayer, transport } = port;
    return withLive(before === undefined ? port : { ...before, linkLayer, transport }, NO_ANSWER);
  }
  const next = withLive(port, answer);
  if (answer.details === null) return next;
  const { rateGbps } = answer.details;
  const known = before?.upRateGbps ?? null;
  const upRateGbps = next.state === "ACTIVE" ? rateGbps ?? known : known ?? rateGbps;
  return { ...next, ...answer.details, ...readGids(portDir), upRateGbps };
}

/**
 * State and physical state. On several drivers each read asks the adapter's firmware.
 *
 * @param last as known; the physical state of a port that was up and is still ACTIVE is not asked again, because a port
 *   does not stay ACTIVE without its link. Full scans know nothing beforehand and ask
 */
async function readLive(portDir: string, last: LivePort): Promise<LivePort> {
  if (!isUp(last)) {
    const [state, physState] = await Promise.all([readState(portDir), readPhysState(portDir)]);
    return { state, physState };
  }
  const state = await readState(portDir);
  return state === last.state ? last : { state, physState: await readPhysState(portDir) };
}

function isUp({ state, physState }: LivePort): boolean {
  return state === "ACTIVE" && physState === "LinkUp";
}

async function readState(portDir: string): Promise<Port["state"]> {
  return parsePortState(await readSlow(`${portDir}/state`));
}

async function readPhysState(portDir: string): Promise<Port["physState"]> {
  return parsePhysState(await readSlow(`${portDir}/phys_state`));
}

/**
 * Whether the port's state differs from the one that was read last. Of an active port only the state is read, since its
 * link is up then; of others the physical state as well.
 */
export async function hasChanged(port: Port, portDir: string): Promise<boolean> {
  if (await readState(portDir) !== port.state) return true;
  return port.state !== "ACTIVE" && await readPhysState(portDir) !== port.physState;
}

/** Asks the firmware, too, on some drivers; read when the state changed and in full scans. */
async function readDetails(portDir: string): Promise<PortDetails> {
  const [rate, lid, smLid, pkey0] = await Promise.all(
    ["rate", "lid", "sm_lid", "pkeys/0"].map((name) => readSlow(`${portDir}/${name}`)),
  );
  return {
    rate: rate ?? null,
    rateGbps: parseRate(rate ?? null),
    lid: parseNumber(lid ?? null),
    smLid: parseNumber(smLid ?? null),
    pkey0: pkey0 ?? null,
  };
}

/**
 * Creates a port before its live part was read.
 * @param last the previous reading of the port: used for its link layer when that cannot be read now, and for net
 *   devices that an empty GID table does not name
 */
export function emptyPort(portDir: string, number: number, last: Port | undefined): Port {
  const linkLayer = readLine(`${portDir}/link_layer`);
  return {
    number,
    transport: "unknown",
    state: "unknown",
    physState: null,
    linkLayer: linkLayer === null && last !== undefined ? last.linkLayer : parseLinkLayer(linkLayer),
    rate: null,
    rateGbps: null,
    upRateGbps: null,
    lid: null,
    smLid: null,
    gids: [],
    gidTable: null,
    netdevs: last?.netdevs ?? [],
    netdevAway: false,
    umad: null,
    issm: null,
    pkey0: null,
  };
}

/** Updates the port with its live part; returns the same object when nothing changed. */
function withLive(port: Port, { state, physState }: LivePort): Port {
  return port.state === state && port.physState === physState ? port : { ...port, state, physState };
}

/**
 * Occupied slots of a port's GID table with net devices and types, and whether there is a table. The kernel answers
 * from its own cache.
 */
function readGids(portDir: string): Pick<Port, "gids" | "gidTable"> {
  const slots = entries(`${portDir}/gids`)?.length ?? 0;
  // The directories of a port that is being removed are missing as well, so its table is unknown.
  const gidTable = slots > 0 ? true : entries(portDir)?.includes("state") ? false : null;
  const gids: Gid[] = [];
  for (let index = 0, empty = 0; index < slots && empty < GAP; index++) {
    const gid = parseGid(readLine(`${portDir}/gids/${index}`));
    if (gid === null) {
      empty++;
      continue;
    }
    empty = 0;
    gids.push({
      index,
      gid,
      type: readLine(`${portDir}/gid_attrs/types/${index}`),
      netdev: readLine(`${portDir}/gid_attrs/ndevs/${index}`),
    });
  }
  return { gids, gidTable };
}
