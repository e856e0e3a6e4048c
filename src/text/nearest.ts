/**
 * "Did you mean …?"
 *
 * @module
 */
import { quote } from "../config/mistakes.ts";

/**
 * The candidate that somebody who typed `typed` probably meant; null when none is close.
 *
 * Letter case does not count. Close: at most one typing error in three letters, or the beginning or end of the
 * candidate (`shares` for `share`, `ether` for `Ethernet`).
 */
export function nearest(typed: string, candidates: readonly string[]): string | null {
  // Nobody means one of our words with something this long, and the distance is quadratic.
  if (typed.length === 0 || typed.length > 40) return null;
  const wanted = typed.toLowerCase();
  let best: string | null = null;
  let least = Infinity;
  for (const candidate of candidates) {
    const other = candidate.toLowerCase();
    const part = Math.min(wanted.length, other.length) >= 3 && (other.startsWith(wanted) || wanted.startsWith(other));
    const errors = distance(wanted, other);
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

/** Levenshtein distance, with swapped neighbours counted as one error (optimal string alignment). */
export function distance(a: string, b: string): number {
  let before: number[] = [];
  let last = Array.from({ length: b.length + 1 }, (_, j) => j);
  for (let i = 1; i <= a.length; i++) {
    const row = [i];
    for (let j = 1; j <= b.length; j++) {
      const differs = a[i - 1] === b[j - 1] ? 0 : 1;
      let cost = Math.min(last[j]! + 1, row[j - 1]! + 1, last[j - 1]! + differs);
      if (i > 1 && j > 1 && a[i - 1] === b[j - 2] && a[i - 2] === b[j - 1]) cost = Math.min(cost, before[j - 2]! + 1);
      row.push(cost);
    }
    [before, last] = [last, row];
  }
  return last[b.length]!;
}
