/**
 * A lock on the claims on disk. During a rolling update two processes of the driver serve at once, and the kubelet may
 * send the prepare of a claim to one and the unprepare to the other.
 *
 * @module
 */
import { setTimeout as delay } from "node:timers/promises";

/** A process that is stopped while it holds the lock must not block the other one for ever. */
const LONGEST_WAIT_MS = 2_000;
const AGAIN_MS = 5;

/**
 * Runs `work` with an exclusive lock on the file at `path`, which is created. The kernel releases the lock when the process
 * ends.
 *
 * Runs it without the lock after {@link LONGEST_WAIT_MS}, when the file cannot be opened, and on Node.js, which has no file
 * locks. The order of the writes (claims.ts) still prevents that two claims get one device.
 */
export async function withLock<T>(path: string, work: () => T): Promise<T> {
  const file = open(path);
  if (file === null) return work();
  try {
    for (const end = performance.now() + LONGEST_WAIT_MS; !file.tryLockSync(true) && performance.now() < end;) {
      await delay(AGAIN_MS);
    }
    return work();
  } finally {
    file.close();
  }
}

function open(path: string): Deno.FsFile | null {
  try {
    return globalThis.Deno?.openSync(path, { create: true, write: true, mode: 0o600 }) ?? null;
  } catch {
    return null;
  }
}
