/**
 * Socket files: names, and taking and giving up a path without ever touching somebody else's socket.
 *
 * @module
 */
import { createHash } from "node:crypto";
import { chmodSync, linkSync, lstatSync, readdirSync, renameSync, unlinkSync } from "node:fs";
import { basename, dirname, join } from "node:path";
import process from "node:process";
import { probeSocket } from "./socket_probe.ts";

/** Bytes of `sun_path` in `struct sockaddr_un` (linux/un.h), less the NUL. */
const LONGEST_PATH = 107;

/**
 * Which file a path names: device and inode, and the time the inode was made, since numbers are reused. Where the file
 * system does not keep that time, the time of its content stands in: a socket has none, so that is when it was made,
 * whatever becomes of its mode and its names.
 */
export type FileIdentity = string;

/** Identity of whatever is at the path, links not followed; null when there is nothing. */
export function identityOf(path: string): FileIdentity | null {
  try {
    const { dev, ino, birthtimeNs, mtimeNs } = lstatSync(path, { bigint: true });
    return `${dev}:${ino}:${birthtimeNs || mtimeNs}`;
  } catch {
    return null; // not there, or not to be seen: either way not to be relied on
  }
}

/**
 * The file name of a resource's socket: readable, stable across restarts, and different for different resources.
 * "tencent.com/rdma" gives "rdma-tencent.com_rdma.sock".
 */
export function socketName(resource: string): string {
  return `rdma-${resource.replaceAll("_", "__").replaceAll("/", "_")}.sock`;
}

/** Refuses a path that no socket can have, before anything is bound. */
export function checkSocketPath(path: string): void {
  const bytes = new TextEncoder().encode(path).length;
  if (bytes > LONGEST_PATH) {
    throw new Error(
      `Cannot serve on ${path}: the path has ${bytes} bytes and a unix socket's at most ${LONGEST_PATH}; ` +
        "use a shorter --kubelet-dir or resource name",
    );
  }
}

/**
 * Where to bind before the socket is moved to its place; hidden, so that a directory watcher passes it over. ".rdma",
 * four characters that stand for the endpoint, four by chance: never longer than the path itself, which was checked.
 */
export function temporaryPath(path: string): string {
  return join(dirname(path), hiddenPrefix(path) + fourDigits(Math.floor(Math.random() * 36 ** 4)));
}

/**
 * Gives the socket at `path` another name beside it, under which it is reached as well: a {@link temporaryPath}, which
 * the next {@link sweep} removes when its maker was killed.
 *
 * @returns its path; null where there can be none, as on a file system without hard links
 */
export function linkHidden(path: string): string | null {
  const hidden = temporaryPath(path);
  try {
    linkSync(path, hidden);
    return hidden;
  } catch {
    return null;
  }
}

function hiddenPrefix(path: string): string {
  return `.rdma${fourDigits(createHash("sha256").update(basename(path)).digest().readUInt32BE() % 36 ** 4)}`;
}

function fourDigits(n: number): string {
  return n.toString(36).padStart(4, "0");
}

/**
 * Removes what plugins that were killed while they made or registered the socket at `path` have left beside it: sockets
 * under a {@link temporaryPath} of the same endpoint, of the same user, at which no one listens. A successor that is between
 * bind and listen at this very moment loses its socket, says so, and makes another.
 *
 * @returns how many there were
 */
export async function sweep(path: string): Promise<number> {
  const prefix = hiddenPrefix(path);
  let swept = 0;
  for (const name of namesIn(dirname(path))) {
    if (!name.startsWith(prefix) || name.length !== prefix.length + 4) continue;
    const hidden = join(dirname(path), name);
    const identity = identityOf(hidden);
    const there = lstatOrNull(hidden);
    if (!there?.isSocket() || there.uid !== process.geteuid?.()) continue;
    if (await probeSocket(hidden) !== "refuses") continue;
    try {
      removeIfOurs(hidden, identity);
      swept++;
    } catch {
      continue; // litter is no reason not to serve
    }
  }
  return swept;
}

/**
 * Moves a bound socket to its final path. The rename is atomic: whoever connects reaches a listener, and a stale
 * socket of a dead predecessor is replaced without a moment in which there is none.
 *
 * @returns the identity by which the owner recognises its socket later
 * @throws when something that is no socket is at the path
 */
export function moveIntoPlace(bound: string, path: string): FileIdentity {
  try {
    const there = lstatOrNull(path);
    if (there !== null && !there.isSocket() && !there.isSymbolicLink()) {
      const what = there.isDirectory() ? "a directory" : "a file that is no socket";
      throw new Error(
        `Cannot serve on ${path}: there is ${what}; remove it, it is none of the plugin's or the kubelet's`,
      );
    }
    chmodSync(bound, 0o600);
    renameSync(bound, path);
  } catch (error) {
    if (identityOf(bound) === null) throw vanished(path);
    removeIfOurs(bound, identityOf(bound));
    throw error;
  }
  const identity = identityOf(path);
  if (identity === null) throw vanished(path);
  return identity;
}

/** A kubelet that starts empties its directory, and may do so at this very moment. */
function vanished(path: string): Error {
  return new Error(`Cannot serve on ${path}: the socket was removed while it was being made`);
}

/** Removes the socket only while it is still the one that was made; a successor's stays. */
export function removeIfOurs(path: string, identity: FileIdentity | null): void {
  if (identity === null || identityOf(path) !== identity) return;
  try {
    unlinkSync(path);
  } catch (error) {
    if ((error as { code?: string }).code !== "ENOENT") throw error;
  }
}

function namesIn(dir: string): readonly string[] {
  try {
    return readdirSync(dir);
  } catch {
    return []; // what is wrong with the directory is said by whoever makes a socket in it
  }
}

function lstatOrNull(path: string) {
  try {
    return lstatSync(path);
  } catch {
    return null; // what cannot be seen cannot be refused; the rename will say what is wrong
  }
}
