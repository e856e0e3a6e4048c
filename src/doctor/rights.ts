/**
 * Access rights of this process to directories, determined without changing anything.
 *
 * Deno's `fs.access` is not access(2): it compares mode bits with the user, so it reports a read-only mount as writable
 * for root, and it fails when Deno's permissions hide the user. Where FFI is available the kernel is asked, which also
 * considers capabilities and SELinux; Node.js always asks the kernel.
 *
 * @module
 */
import { accessSync, constants, readdirSync, renameSync, statSync } from "node:fs";
import { join } from "node:path";
import { randomUUID } from "node:crypto";
import { loadLibc } from "../hca/ffi.ts";

/** How this process can use a directory. */
export type DirectoryState =
  | "missing"
  | "no directory"
  /** The mount is read-only (EROFS). */
  | "read-only"
  /** Mode bits, a missing capability or SELinux forbid it (EACCES, EPERM). */
  | "denied"
  /** Deno's permissions forbid it, independent of the kernel. */
  | "sandboxed"
  /** The mount is writable, but whether this process may write is not known. */
  | "unknown"
  | "writable";

/** RLIMIT_MEMLOCK on x86, arm and POWER (asm-generic/resource.h). */
const RLIMIT_MEMLOCK = 8;
/** ~0UL: no limit (linux/resource.h). */
const RLIM_INFINITY = 2n ** 64n - 1n;

const SYMBOLS = {
  access: {
    parameters: [
      "buffer", // const char *pathname
      "i32", // int mode
    ],
    result: "i32",
  },
  getrlimit: {
    parameters: [
      "i32", // int resource
      "buffer", // struct rlimit *rlim: two 64-bit words, the soft limit first
    ],
    result: "i32",
  },
} as const;

/** The rights and limits of this process according to the kernel. */
export interface Rights extends Disposable {
  stateOf(dir: string): DirectoryState;
  /** Soft limit of locked memory in bytes; Infinity for none, null when it cannot be determined. */
  memlock(): number | null;
}

/** Never throws; without FFI the answers are less precise. */
export function openRights(): Rights {
  const libc = load();
  return {
    stateOf: (dir) => stateOf(dir, libc === null ? null : (path) => libc.symbols.access(cString(path), 3) === 0),
    memlock() {
      const limits = new BigUint64Array(2);
      if (libc === null || libc.symbols.getrlimit(RLIMIT_MEMLOCK, new Uint8Array(limits.buffer)) !== 0) return null;
      return limits[0] === RLIM_INFINITY ? Infinity : Number(limits[0]);
    },
    [Symbol.dispose]: () => libc?.close(),
  };
}

/** @param mayWrite access(2) with W_OK and X_OK, or null when it cannot be called */
function stateOf(dir: string, mayWrite: ((path: string) => boolean) | null): DirectoryState {
  try {
    if (!statSync(dir).isDirectory()) return "no directory";
  } catch (error) {
    return isSandboxed(error) ? "sandboxed" : codeOf(error) === "EACCES" ? "denied" : "missing";
  }
  const hindrance = renameNothing(dir);
  if (hindrance !== null) return hindrance;
  if (mayWrite !== null) return mayWrite(dir) ? "writable" : "denied";
  if ("Deno" in globalThis) return "unknown";
  try {
    accessSync(dir, constants.W_OK | constants.X_OK);
    return "writable";
  } catch {
    return "denied";
  }
}

/**
 * The kernel returns EROFS for renaming a missing name before it checks the name, and Deno's permissions reject it
 * first as well. The call has no effect, because no file has the name.
 */
function renameNothing(dir: string): DirectoryState | null {
  const nothing = join(dir, `.rdma-doctor-${randomUUID()}`);
  try {
    renameSync(nothing, `${nothing}-too`);
  } catch (error) {
    if (isSandboxed(error)) return "sandboxed";
    if (codeOf(error) === "EROFS") return "read-only";
    if (codeOf(error) === "EACCES" || codeOf(error) === "EPERM") return "denied";
  }
  return null;
}

/** Whether Deno's permissions, not the kernel, denied the access. */
export function isSandboxed(error: unknown): boolean {
  return (error as Error | undefined)?.name === "NotCapable" || codeOf(error) === "ERR_ACCESS_DENIED";
}

/** Whether Deno's permissions hide the directory. */
export function isHidden(dir: string): boolean {
  try {
    readdirSync(dir);
    return false;
  } catch (error) {
    return isSandboxed(error);
  }
}

export function codeOf(error: unknown): string | undefined {
  return (error as { code?: string } | undefined)?.code;
}

function load(): Deno.DynamicLibrary<typeof SYMBOLS> | null {
  try {
    return loadLibc(SYMBOLS);
  } catch {
    return null; // not permitted, or no FFI; the results that need it are unknown
  }
}

function cString(text: string): Uint8Array<ArrayBuffer> {
  return new Uint8Array(new TextEncoder().encode(`${text}\0`));
}
