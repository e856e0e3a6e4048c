/**
 * Temporary directories and waiting, for tests.
 *
 * @module
 */
import { mkdtempSync, rmSync } from "node:fs";
import { join } from "node:path";
import { startDeadline } from "../../src/hca/deadline.ts";
import { socketParent } from "../../sim/host/temporary.ts";

/** A directory that is gone after the test: `using dir = temporaryDir()`. */
export function temporaryDir(parent: string = socketParent()): Disposable & { readonly path: string } {
  const path = mkdtempSync(join(parent, "rdma-"));
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
