/**
 * Natural order of names: mlx5_2 before mlx5_10.
 *
 * @module
 */

// A fixed locale gives the same order on every machine; "variant" distinguishes letter case and accents. Made when it
// is first needed, which takes some milliseconds.
let collator: Intl.Collator | null = null;

/** For `sort()`. Names that the collator considers equal (mlx5_1 and mlx5_01) are ordered by their bytes. */
export function natural(a: string, b: string): number {
  const plain = byLastNumber(a, b) ?? byLetter(a, b);
  if (plain !== null) return plain;
  collator ??= new Intl.Collator("en", { numeric: true, sensitivity: "variant" });
  return collator.compare(a, b) || (a < b ? -1 : a > b ? 1 : 0);
}

const ZERO = 48;

function isDigit(code: number): boolean {
  return code >= ZERO && code <= ZERO + 9;
}

/**
 * The same for names that differ in the number at their end only, such as those of a machine's HCAs, at a tenth of the
 * time; null for others.
 */
function byLastNumber(a: string, b: string): number | null {
  if (a === b) return 0;
  let start = 0;
  while (start < a.length && a.charCodeAt(start) === b.charCodeAt(start)) start++;
  while (start > 0 && isDigit(a.charCodeAt(start - 1))) start--;
  if (!isPlainNumber(a, start) || !isPlainNumber(b, start)) return null;
  return a.length - b.length || (a < b ? -1 : 1);
}

/** The same for names that first differ in a small letter, such as issm0 and umad0; null for others. */
function byLetter(a: string, b: string): number | null {
  const end = Math.min(a.length, b.length);
  for (let i = 0; i < end; i++) {
    const here = a.charCodeAt(i);
    const there = b.charCodeAt(i);
    if (here !== there) return isSmallLetter(here) && isSmallLetter(there) ? here - there : null;
    // Beyond ASCII a letter can be several characters.
    if (here > 127) return null;
  }
  return null;
}

function isSmallLetter(code: number): boolean {
  return code >= 97 && code <= 122;
}

/** Whether all that follows is one number without a leading zero. */
function isPlainNumber(text: string, start: number): boolean {
  if (start >= text.length || (text.charCodeAt(start) === ZERO && start + 1 < text.length)) return false;
  for (let i = start; i < text.length; i++) if (!isDigit(text.charCodeAt(i))) return false;
  return true;
}
