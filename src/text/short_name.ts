/**
 * Names for places with a limit: paths of sockets, files, keys of annotations.
 *
 * @module
 */
import { createHash } from "node:crypto";

/** Digits of the hash in a shortened name: two names of one node never have the same. */
const DIGITS = 12;

/**
 * The name, or where it has more characters than `most` its beginning and a hash of all of it. Stable across restarts,
 * and different for different names.
 */
export function shortName(name: string, most: number): string {
  if (name.length <= most) return name;
  const hash = createHash("sha256").update(name).digest("hex").slice(0, DIGITS);
  return `${name.slice(0, most - DIGITS - 1)}-${hash}`;
}
