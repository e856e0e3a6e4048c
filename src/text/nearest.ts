/**
 * Suggestions for misspelt names: "did you mean …?"
 *
 * @module
 */
import leven from "leven";
import { quote } from "./printable.ts";

/**
 * Returns the candidate that `typed` was probably meant to be; null when none is close.
 *
 * Ignores letter case. Close means at most one typing error per three letters, or a prefix of the candidate or the
 * reverse (`shares` for `share`, `ether` for `Ethernet`).
 */
export function nearest(typed: string, candidates: readonly string[]): string | null {
  // No candidate is this long, and the cost of the distance is quadratic.
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

/** `did you mean "shares"?`; null when no candidate is close. */
export function hint(typed: unknown, candidates: readonly string[]): string | null {
  const found = typeof typed === "string" ? nearest(typed, candidates) : null;
  return found === null || found === typed ? null : `did you mean ${quote(found)}?`;
}
