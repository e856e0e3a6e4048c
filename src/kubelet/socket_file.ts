/**
 * Socket files: names, and binding and removing a path without affecting sockets of other processes.
 *
 * @module
 */
import { createHash } from "node:crypto";
import { chmodSync, linkSync, lstatSync, renameSync, unlinkSync } from "node:fs";
import { basename, dirname, join } from "node:path";
import { probeSocket } from "./socket_probe.ts";
import { fileNameOf, namesIn } from "./files.ts";

/** Bytes of `sun_path` in `struct sockaddr_un` (linux/un.h), less the NUL. */
const LONGEST_PATH = 107;

/**
 * Identifies the file at a path: device, inode, and the creation time of the inode, since inode numbers are reused. On
 * file systems without creation time the mtime is used: a socket's is its creation time, which chmod, rename and link
 * do not change.
 */
export type FileIdentity = string;

/** Identity of the file at the path, without following links; null when there is none. */
export function identityOf(path: string): FileIdentity | null {
  try {
    const { dev, ino, birthtimeNs, mtimeNs } = lstatSync(path, { bigint: true });
    return `${dev}:${ino}:${birthtimeNs || mtimeNs}`;
  } catch {
    return null; // missing or not accessible
  }
}

/** What is left of {@link LONGEST_PATH} for a resource below /var/lib/kubelet/plugins_registry. */
const LONGEST_RESOURCE = 63;

/**
 * The file name of a resource's socket: readable, stable across restarts, and different for different resources.
 * "tencent.com/rdma" gives "rdma-tencent.com_rdma.sock"; a long name is cut and gets a hash.
 */
export function socketName(resource: string): string {
  return `rdma-${fileNameOf(resource, LONGEST_RESOURCE)}.sock`;
}

/** Throws for a path that is too long for a socket, before anything is bound. */
export function checkSocketPath(path: string): void {
  const bytes = new TextEncoder().encode(path).length;
  if (bytes > LONGEST_PATH) {
    throw new Error(
      `Cannot serve on ${path}: the path has ${bytes} bytes and a unix socket's at most ${LONGEST_PATH}; ` +
        "use a shorter --kubelet-dir",
    );
  }
}

/**
 * Path to bind before the socket is renamed; hidden, so that directory watchers ignore it. Consists of ".rdma", four
 * characters derived from the endpoint and four random ones: never longer than the path itself, which was checked.
 */
export function temporaryPath(path: string): string {
  return join(dirname(path), hiddenPrefix(path) + fourDigits(Math.floor(Math.random() * 36 ** 4)));
}

/**
 * Creates a hard link to the socket at `path`, with a {@link temporaryPath} as its name: connecting to it reaches the
 * same listener. A link that a killed plugin left is removed by the next {@link sweep}.
 *
 * @returns path of the link; null when it cannot be created, as on a file system without hard links
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
 * Removes sockets left by plugins that were killed while creating or registering the socket at `path`: those with a
 * {@link temporaryPath} of the same endpoint, of the same owner as `mine`, without a listener. A plugin that is between
 * bind and listen at that moment loses its socket, logs that, and creates another.
 *
 * @param mine this process' own socket: its owner is this user, whom the runtime does not tell of in its sandbox
 * @returns the number of removed sockets
 */
export async function sweep(path: string, mine: string = path): Promise<number> {
  const prefix = hiddenPrefix(path);
  const owner = lstatOrNull(mine)?.uid;
  let swept = 0;
  for (const name of namesIn(dirname(path))) {
    if (!name.startsWith(prefix) || name.length !== prefix.length + 4) continue;
    const hidden = join(dirname(path), name);
    if (hidden === mine) continue;
    const identity = identityOf(hidden);
    const there = lstatOrNull(hidden);
    if (!there?.isSocket() || there.uid !== owner) continue;
    if (await probeSocket(hidden) !== "refuses") continue;
    try {
      removeIfOurs(hidden, identity);
      swept++;
    } catch {
      continue; // leftovers must not prevent serving
    }
  }
  return swept;
}

/**
 * Renames a bound socket to its final path. The rename is atomic: clients always reach a listener, and a stale socket
 * of a previous process is replaced without a gap.
 *
 * @returns the identity by which the owner recognises its socket
 * @throws when the path exists and is not a socket
 */
export function moveIntoPlace(bound: string, path: string): FileIdentity {
  try {
    const there = lstatOrNull(path);
    if (there !== null && !there.isSocket() && !there.isSymbolicLink()) {
      const what = there.isDirectory() ? "a directory" : "a file that is not a socket";
      throw new Error(
        `Cannot serve on ${path}: the path is ${what}; remove it, it belongs neither to the plugin nor to the kubelet`,
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

/** A kubelet that starts empties its directory, possibly at this moment. */
function vanished(path: string): Error {
  return new Error(`Cannot serve on ${path}: the socket was removed while it was being created`);
}

/** Removes the socket if it is still the one that was created, and keeps that of a successor. */
export function removeIfOurs(path: string, identity: FileIdentity | null): void {
  if (identity === null || identityOf(path) !== identity) return;
  try {
    unlinkSync(path);
  } catch (error) {
    if ((error as { code?: string }).code !== "ENOENT") throw error;
  }
}

function lstatOrNull(path: string) {
  try {
    return lstatSync(path);
  } catch {
    return null; // the rename will report what is wrong
  }
}
