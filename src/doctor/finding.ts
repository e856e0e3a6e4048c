/**
 * What the doctor says: findings, and their order.
 *
 * @module
 */

/** `problem`: pods will not get what they need. `warning`: some will not, or not in every case. */
export type Severity = "problem" | "warning" | "ok";

/** One thing that was checked. */
export interface Finding {
  /** Stable; docs/troubleshooting.md has a section of this name for everything but `ok`. */
  readonly id: string;
  readonly severity: Severity;
  /** What is wrong (or right), a sentence. */
  readonly what: string;
  /** Why it matters; empty for `ok`. */
  readonly why: string;
  /** The command or the change that mends it; empty for `ok`. */
  readonly mend: string;
}

export function ok(id: string, what: string): Finding {
  return { id, severity: "ok", what, why: "", mend: "" };
}
export function problem(id: string, what: string, why: string, mend: string): Finding {
  return { id, severity: "problem", what, why, mend };
}
export function warning(id: string, what: string, why: string, mend: string): Finding {
  return { id, severity: "warning", what, why, mend };
}
