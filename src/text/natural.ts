/**
 * The order of names as people count: mlx5_2 before mlx5_10.
 *
 * @module
 */

// A fixed locale, so that two machines never disagree; "variant" tells letter case and accents apart.
const collator = new Intl.Collator("en", { numeric: true, sensitivity: "variant" });

/** For `sort()`. Names that the collator takes for equal (mlx5_1 and mlx5_01) are put in the order of their bytes. */
export function natural(a: string, b: string): number {
  return collator.compare(a, b) || (a < b ? -1 : a > b ? 1 : 0);
}
