/**
 * The files in /dev/infiniband. They are examined with stat, never opened.
 *
 * @module
 */
import { statSync } from "node:fs";
import { join } from "node:path";
import { deviceNumber, list } from "../hca/files.ts";

/** A file in /dev/infiniband. */
export interface NodeFile {
  readonly kind: "character" | "directory" | "other";
  /** `major:minor` of a character device, as in sysfs. */
  readonly dev: string | null;
  /** Permission bits. */
  readonly mode: number;
}

/** By name. Files that cannot be examined are left out. */
export function readNodeFiles(devRoot: string): ReadonlyMap<string, NodeFile> {
  const dir = join(devRoot, "infiniband");
  const files = new Map<string, NodeFile>();
  for (const name of list(dir)) {
    try {
      const stat = statSync(join(dir, name));
      const kind = stat.isCharacterDevice() ? "character" : stat.isDirectory() ? "directory" : "other";
      files.set(name, { kind, dev: kind === "character" ? deviceNumber(stat.rdev) : null, mode: stat.mode & 0o777 });
    } catch {
      continue; // removed meanwhile, or a broken link: the HCA's own facts show that it is missing
    }
  }
  return files;
}
