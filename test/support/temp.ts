/**
 * Temporary directories and waiting, for tests.
 *
 * @module
 */
import { mkdtempSync, rmSync } from "node:fs";
import { join } from "node:path";
import { startDeadline } from "../../src/hca/deadline.ts";
import { FakeHost } from "../../sim/host/host.ts";
import { socketParent } from "../../sim/host/temporary.ts";

/** A directory that is gone after the test: `using dir = temporaryDir()`. */
export function temporaryDir(parent: string = socketParent()): Disposable & { readonly path: string } {
  return removed(mkdtempSync(join(parent, "rdma-")));
}

/**
 * The same in memory, where the machine has /dev/shm: a fake host has thousands of files, and making them on a disk can
 * take more than a second of the processor. Not for a plugin with a permission set, to which all below /dev is closed.
 */
export function memoryDir(): ReturnType<typeof temporaryDir> {
  return removed(FakeHost.temporaryRoot());
}

function removed(path: string): ReturnType<typeof temporaryDir> {
  return { path, [Symbol.dispose]: () => rmSync(path, { recursive: true, force: true }) };
}

/** Rejects with a sentence when the promise is not settled in time; for events that must come. */
export async function within<T>(promise: Promise<T>, what: string, ms = 60_000): Promise<T> {
  using deadline = startDeadline(ms);
  const late = deadline.passed.then(() => {
    throw new Error(`Waited ${ms} ms in vain: ${what}`);
  });
  return await Promise.race([promise, late]);
}
