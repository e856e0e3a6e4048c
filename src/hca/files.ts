/**
 * Reading sysfs and /dev so that an odd host is a value and never an exception: whatever cannot be read is `null`. The
 * exception is {@link OutOfFiles}, which is about this process and not about the host.
 *
 * Most attributes are answered by the kernel from memory and are read synchronously, which costs a few microseconds.
 * Not so {@link readSlow}: attributes whose `show` function asks the adapter's firmware, which may take as
 * long as it likes.
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
 * This process may open no more files. That says nothing about the machine: whoever took it for an answer would find a
 * host without HCAs.
 */
export class OutOfFiles extends Error {
  override readonly name = "OutOfFiles";
}

/** Codes of `errno` that speak of this process or the kernel as a whole, not of the file. */
const EXHAUSTED = new Set(["EMFILE", "ENFILE"]);

/** `null` for whatever was wrong with the file. @throws {OutOfFiles} */
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

/** More than any attribute that is read here: a sysfs attribute is one page at the most. */
const LONGEST = 4096;

function tidy(text: string): string | null {
  // A torn or binary attribute must not travel into tables, logs and variables as it is.
  const line = withoutUnprintable(text.slice(0, LONGEST).split("\n", 1)[0]!).trim();
  return line === "" ? null : line;
}

/** What {@link readOnce} reads into. */
const PAGE = Buffer.alloc(LONGEST);

/**
 * As {@link readLine}, for the path of an answer: opened, read once and closed. `readFileSync` asks for the size and
 * the position first, and reads a second time to see that nothing is left, which an attribute of one line never has.
 */
export function readOnce(path: string): string | null {
  try {
    const file = openSync(path, "r");
    try {
      return tidy(PAGE.toString("utf8", 0, readSync(file, PAGE, 0, LONGEST, null)));
    } finally {
      closeSync(file);
    }
  } catch (error) {
    return unreadable(path, error);
  }
}

/** First line of an attribute without white space around it; `null` when missing, unreadable or empty. */
export function readLine(path: string): string | null {
  try {
    return tidy(readFileSync(path, "utf8"));
  } catch (error) {
    return unreadable(path, error); // ENOENT, EIO, ENODEV, EINVAL, EISDIR: all of them are "the kernel does not say"
  }
}

/** Every line of an attribute that has several, such as `uevent`; empty when it cannot be read. */
export function lines(path: string): readonly string[] {
  try {
    return readFileSync(path, "utf8").slice(0, LONGEST).split("\n").map((line) => tidy(line) ?? "");
  } catch (error) {
    return unreadable(path, error) ?? [];
  }
}

/** As {@link readLine}, off the event loop: for attributes that may wait for firmware. */
export function readSlow(path: string): Promise<string | null> {
  return new Promise((resolve, reject) =>
    readFile(path, "utf8", (error, text) => {
      try {
        resolve(error === null ? tidy(text) : unreadable(path, error));
      } catch (exhausted) {
        reject(exhausted);
      }
    })
  );
}

/**
 * A whole file, off the event loop; `null` when it cannot be read. The callback form costs a third of the promise form
 * under Deno: 12 µs a file instead of 35, eight at a time.
 */
export function readText(path: string): Promise<string | null> {
  return new Promise((resolve) => readFile(path, "utf8", (error, text) => resolve(error === null ? text : null)));
}

/** Names in a directory as the kernel gives them; `null` when there is no such directory or it cannot be listed. */
export function entries(dir: string): readonly string[] | null {
  try {
    return readdirSync(dir).filter((name) => !name.startsWith("."));
  } catch (error) {
    return unreadable(dir, error);
  }
}

/** Names of the directories in a directory, links left out; empty when it cannot be listed. */
export function directories(dir: string): readonly string[] {
  try {
    return readdirSync(dir, { withFileTypes: true }).filter((one) => one.isDirectory()).map((one) => one.name);
  } catch (error) {
    return unreadable(dir, error) ?? [];
  }
}

/** Names in a directory, in natural order; empty when there is no such directory or it cannot be listed. */
export function list(dir: string): readonly string[] {
  return [...entries(dir) ?? []].sort(natural);
}

/** Whether there is something at the path, links followed; what this process may not look at counts as absent. */
export function exists(path: string): boolean {
  try {
    return existsSync(path);
  } catch {
    return false; // this runtime's sandbox throws where the original never does
  }
}

/**
 * Whether the host has a path, wherever its /dev is mounted. What is elsewhere cannot be seen from a container with its
 * own root, so it counts as there.
 */
export function hostHas(devRoot: string): (hostPath: string) => boolean {
  return (hostPath) => {
    if (hostPath.startsWith("/dev/")) return exists(`${devRoot}${hostPath.slice("/dev".length)}`);
    return devRoot !== "/dev" || exists(hostPath);
  };
}

/** Last component of what a symbolic link says ("../../bus/pci/drivers/mlx5_core" → "mlx5_core"). */
export function linkName(path: string): string | null {
  try {
    return tidy(basename(readlinkSync(path)));
  } catch {
    return null;
  }
}

/** The path with every link resolved; `null` when it dangles or loops. */
export function resolve(path: string): string | null {
  try {
    return realpathSync(path);
  } catch {
    return null;
  }
}

/**
 * What tells one incarnation of a directory entry from the next: a re-created HCA has a new inode under an old name.
 * `null` when there is no such entry.
 */
export function incarnation(path: string): string | null {
  try {
    const { ino, ctimeMs } = lstatSync(path);
    return `${ino}:${ctimeMs}`;
  } catch {
    return null;
  }
}

/** True for a directory, links followed. */
export function isDirectory(path: string): boolean {
  try {
    return statSync(path).isDirectory();
  } catch {
    return false;
  }
}
