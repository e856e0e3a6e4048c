/**
 * What the guest tells the host: one JSON object a line.
 *
 * @module
 */

/** The outcome of one check, with the figures that it measured. */
export interface Outcome {
  readonly check: string;
  readonly milliseconds: number;
  readonly notes: readonly string[];
  /** The failure with its stack; null when the check passed. */
  readonly error: string | null;
  /** Why the check cannot be made on this kernel; null when it was made. */
  readonly skipped: string | null;
}

/** Reads a line of the guest; null for anything that is no outcome. */
export function readOutcome(line: string): Outcome | null {
  try {
    const value: unknown = JSON.parse(line);
    return typeof value === "object" && value !== null && "check" in value ? value as Outcome : null;
  } catch {
    return null; // half a line of a guest that was switched off
  }
}
