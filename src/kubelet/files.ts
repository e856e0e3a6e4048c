/**
 * Reading what other processes create and remove at any time.
 *
 * @module
 */
import { readdirSync, readFileSync } from "node:fs";

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
