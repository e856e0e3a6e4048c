/**
 * Natural order of names: mlx5_2 before mlx5_10.
 *
 * @module
 */

// A fixed locale gives the same order on every machine; "variant" distinguishes letter case and accents.
const collator = new Intl.Collator("en", { numeric: true, sensitivity: "variant" });

/** For `sort()`. Names that the collator considers equal (mlx5_1 and mlx5_01) are ordered by their bytes. */
export function natural(a: string, b: string): number {
  return collator.compare(a, b) || (a < b ? -1 : a > b ? 1 : 0);
}
