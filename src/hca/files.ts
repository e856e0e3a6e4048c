/**
 * Reads sysfs and /dev without throwing: whatever cannot be read is `null`. The only exception is {@link OutOfFiles},
 * which concerns this process and not the host.
 *
 * The kernel answers most attributes from memory, so they are read synchronously, which takes a few microseconds.
 * {@link readSlow} is for attributes whose `show` function asks the adapter's firmware, which can take arbitrarily
 * long.
 *
 * @module
 */
import { Buffer } from "node:buffer";
import {
  closeSync,
  existsSync,
  lstatSync,
  openSync,
  readdirSync,
  readFile,
  readFileSync,
  readlinkSync,
  readSync,
  realpathSync,
  statSync,
} from "node:fs";
import { basename } from "node:path";
import { withoutUnprintable } from "../text/printable.ts";
import { natural } from "../text/natural.ts";

/**
 * This process cannot open more files. This must not be read as an answer about the machine, which would then seem to
 * have no HCAs.
 */
export class OutOfFiles extends Error {
  override readonly name = "OutOfFiles";
}

/** `errno` codes that concern this process or the whole kernel, not the file. */
const EXHAUSTED = new Set(["EMFILE", "ENFILE"]);

/** Returns `null` for any other error. @throws {OutOfFiles} */
function unreadable(path: string, error: unknown): null {
  const { code = "" } = error as { code?: string };
  if (!EXHAUSTED.has(code)) return null;
  throw new OutOfFiles(
    `Cannot open ${path}: ${code}, ${
      code === "EMFILE" ? "this process has" : "the machine has"
    } as many files open as ` +
      "may be. See who holds connections to the plugin's socket, or raise the limit (ulimit -n, LimitNOFILE=)",
    { cause: error },
  );
}

/** Longest attribute in characters: a sysfs attribute is at most one page. */
const LONGEST = 4096;

function tidy(text: string): string | null {
  // A torn or binary attribute must not end up in tables, logs and variables.
  const line = withoutUnprintable(text.slice(0, LONGEST).split("\n", 1)[0]!).trim();
  return line === "" ? null : line;
}

/** What attributes are read into. */
const PAGE = Buffer.alloc(LONGEST);

/**
 * First line of an attribute, trimmed; `null` when missing, unreadable or empty. Opened, read once and closed:
 * `readFileSync` asks for the size and the position first, and reads a second time to see that nothing is left, which an
 * attribute never has.
 */
export function readLine(path: string): string | null {
  try {
    const file = openSync(path, "r");
    try {
      return tidy(PAGE.toString("utf8", 0, readSync(file, PAGE, 0, LONGEST, null)));
    } finally {
      closeSync(file);
    }
  } catch (error) {
    return unreadable(path, error); // ENOENT, EIO, ENODEV, EINVAL, EISDIR: all mean that the kernel gives no value
  }
}

/** As {@link readLine}, for an attribute that most have not: asking first costs a tenth of the error. */
export function readOptional(path: string): string | null {
  return exists(path) ? readLine(path) : null;
}

/** All lines of an attribute such as `uevent`; empty when it cannot be read. */
export function lines(path: string): readonly string[] {
  try {
    return readFileSync(path, "utf8").slice(0, LONGEST).split("\n").map((line) => tidy(line) ?? "");
  } catch (error) {
    return unreadable(path, error) ?? [];
  }
}

/** As {@link readLine}, but asynchronous: for attributes that may wait for firmware. */
export async function readSlow(path: string): Promise<string | null> {
  try {
    return tidy(await readWhole(path));
  } catch (error) {
    return unreadable(path, error);
  }
}

/** Reads a whole file asynchronously; `null` when it cannot be read. */
export async function readText(path: string): Promise<string | null> {
  try {
    return await readWhole(path);
  } catch {
    return null;
  }
}

/**
 * Deno's own function where there is one: one question to a thread for the whole file, where `readFile` of node:fs asks
 * several times, which is twice the time for a process that mostly sleeps, and polls as often as their cost allows.
 */
function readWhole(path: string): Promise<string> {
  const own = globalThis.Deno?.readTextFile;
  if (own !== undefined) return own(path);
  return new Promise((resolve, reject) =>
    readFile(path, "utf8", (error, text) => error === null ? resolve(text) : reject(error))
  );
}

/** Names in a directory in kernel order; `null` when it does not exist or cannot be listed. */
export function entries(dir: string): readonly string[] | null {
  try {
    return readdirSync(dir).filter((name) => !name.startsWith("."));
  } catch (error) {
    return unreadable(dir, error);
  }
}

/** Names of the subdirectories, without links; empty when the directory cannot be listed. */
export function directories(dir: string): readonly string[] {
  try {
    return readdirSync(dir, { withFileTypes: true }).filter((one) => one.isDirectory()).map((one) => one.name);
  } catch (error) {
    return unreadable(dir, error) ?? [];
  }
}

/** Names in a directory in natural order; empty when it does not exist or cannot be listed. */
export function list(dir: string): readonly string[] {
  return [...entries(dir) ?? []].sort(natural);
}

/** Whether the path exists, following links; a path that this process has no access to counts as missing. */
export function exists(path: string): boolean {
  try {
    return existsSync(path);
  } catch {
    return false; // Deno's permission check throws
  }
}

/**
 * Whether the host has a path, wherever its /dev is mounted. Paths outside /dev cannot be checked from a container with
 * its own root and count as present.
 */
export function hostHas(devRoot: string): (hostPath: string) => boolean {
  return (hostPath) => {
    if (hostPath.startsWith("/dev/")) return exists(`${devRoot}${hostPath.slice("/dev".length)}`);
    return devRoot !== "/dev" || exists(hostPath);
  };
}

/** Last component of a symbolic link's target ("../../bus/pci/drivers/mlx5_core" → "mlx5_core"). */
export function linkName(path: string): string | null {
  try {
    return tidy(basename(readlinkSync(path)));
  } catch {
    return null;
  }
}

/** The path with all links resolved; `null` when a link is broken or loops. */
export function resolve(path: string): string | null {
  try {
    return realpathSync(path);
  } catch {
    return null;
  }
}

/**
 * Identifies the incarnation of a directory entry: an HCA that was removed and added again has a new inode under the
 * same name. `null` when there is no such entry.
 *
 * @param inSysfs whether it is the kernel's own sysfs, which gives no inode number a second time (kernfs counts them).
 *   Its times say nothing: they are those at which the inode was read into memory, and change when memory is short and
 *   the kernel frees it. File systems on disk use inode numbers again
 */
export function incarnation(path: string, inSysfs: boolean): string | null {
  try {
    const { ino, ctimeMs } = lstatSync(path);
    return inSysfs ? `${ino}` : `${ino}:${ctimeMs}`;
  } catch {
    return null;
  }
}

/** `major:minor` of a character device, "directory", or null for anything else and what cannot be examined. */
export function fileNumber(path: string): string | null {
  try {
    const stat = statSync(path);
    return stat.isCharacterDevice() ? deviceNumber(stat.rdev) : stat.isDirectory() ? "directory" : null;
  } catch {
    return null;
  }
}

/** Formats the `dev_t` of stat(2) (gnu_dev_major and gnu_dev_minor of sys/sysmacros.h, for numbers below 2^32). */
export function deviceNumber(rdev: number): string {
  const major = (rdev >>> 8) & 0xfff;
  const minor = (rdev & 0xff) | ((rdev >>> 12) & 0xfff00);
  return `${major}:${minor}`;
}

/** True for a directory, links followed. */
export function isDirectory(path: string): boolean {
  try {
    return statSync(path).isDirectory();
  } catch {
    return false;
  }
}
