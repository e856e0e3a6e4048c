/**
 * Reading what other processes create and remove at any time.
 *
 * @module
 */
import { readdirSync, readFileSync } from "node:fs";
import { shortName } from "../text/short_name.ts";

/** Names in a directory, sorted; none when it does not exist or cannot be read: whoever writes there will say why. */
export function namesIn(dir: string): readonly string[] {
  try {
    return readdirSync(dir).sort();
  } catch {
    return [];
  }
}

/** The text of a file; null when it does not exist or cannot be read. */
export function textIn(path: string): string | null {
  try {
    return readFileSync(path, "utf8");
  } catch {
    return null;
  }
}

/** A resource's part of file names: readable, and different for different resources; at most `most` characters. */
export function fileNameOf(resource: string, most: number): string {
  return shortName(resource.replaceAll("_", "__").replaceAll("/", "_"), most);
}
