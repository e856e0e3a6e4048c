/**
 * One process of the driver at a time changes claims on disk: in a rolling update two serve at once, and the kubelet may
 * have the one prepare a claim and the other unprepare it.
 *
 * @module
 */
import { setTimeout as delay } from "node:timers/promises";

/** A process that was stopped in the middle must not stop the other one for good. */
const LONGEST_WAIT_MS = 2_000;
const AGAIN_MS = 5;

/**
 * Runs `work` with the lock of the file at `path`, which is created; the kernel releases it when the process ends, however.
 *
 * Without it after {@link LONGEST_WAIT_MS}, where no lock can be had because the directory is not there or read-only, and on
 * Node.js, which has none. Then the order of writes still keeps two claims from one device.
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
