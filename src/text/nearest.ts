/**
 * "Did you mean …?"
 *
 * @module
 */
import leven from "leven";
import { quote } from "./printable.ts";

/**
 * The candidate that somebody who typed `typed` probably meant; null when none is close.
 *
 * Letter case does not count. Close: at most one typing error in three letters, or the beginning or end of the
 * candidate (`shares` for `share`, `ether` for `Ethernet`).
 */
export function nearest(typed: string, candidates: readonly string[]): string | null {
  // No one means one of our words with something this long, and the distance is quadratic.
  if (typed.length === 0 || typed.length > 40) return null;
  const wanted = typed.toLowerCase();
  let best: string | null = null;
  let least = Infinity;
  for (const candidate of candidates) {
    const other = candidate.toLowerCase();
    const part = Math.min(wanted.length, other.length) >= 3 && (other.startsWith(wanted) || wanted.startsWith(other));
    const errors = leven(wanted, other);
    const close = errors <= Math.floor(Math.max(wanted.length, other.length) / 3) || part;
    if (close && errors < least) [best, least] = [candidate, errors];
  }
  return best;
}

/** `; did you mean "shares"?`, or nothing. */
export function hint(typed: unknown, candidates: readonly string[]): string {
  const found = typeof typed === "string" ? nearest(typed, candidates) : null;
  return found === null || found === typed ? "" : `; did you mean ${quote(found)}?`;
}
