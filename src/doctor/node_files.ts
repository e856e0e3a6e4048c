/**
 * The files behind the names in /dev/infiniband. They are looked at, never opened.
 *
 * @module
 */
import { statSync } from "node:fs";
import { join } from "node:path";
import { list } from "../hca/files.ts";

/** One name in /dev/infiniband. */
export interface NodeFile {
  readonly kind: "character" | "directory" | "other";
  /** `major:minor` of a character device, as sysfs spells it. */
  readonly dev: string | null;
  /** Permission bits. */
  readonly mode: number;
}

/** By name. Names that cannot be looked at are left out. */
export function readNodeFiles(devRoot: string): ReadonlyMap<string, NodeFile> {
  const dir = join(devRoot, "infiniband");
  const files = new Map<string, NodeFile>();
  for (const name of list(dir)) {
    try {
      const stat = statSync(join(dir, name));
      const kind = stat.isCharacterDevice() ? "character" : stat.isDirectory() ? "directory" : "other";
      files.set(name, { kind, dev: kind === "character" ? deviceNumber(stat.rdev) : null, mode: stat.mode & 0o777 });
    } catch {
      continue; // gone between listing and looking, or a dangling link: the HCA's own facts say that it is missing
    }
  }
  return files;
}

/** From `dev_t` as stat(2) gives it (gnu_dev_major and gnu_dev_minor of sys/sysmacros.h, for numbers below 2^32). */
export function deviceNumber(rdev: number): string {
  const major = (rdev >>> 8) & 0xfff;
  const minor = (rdev & 0xff) | ((rdev >>> 12) & 0xfff00);
  return `${major}:${minor}`;
}
