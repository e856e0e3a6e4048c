/**
 * What the doctor says: findings, and the names they have.
 *
 * @module
 */

/** Every finding there is, in the order in which they are printed; docs/troubleshooting.md has a section for each. */
export const FINDING_IDS = [
  "runtime",
  "sandbox",
  "config",
  "rdma-modules",
  "hcas",
  "hca-unreadable",
  "uverbs",
  "uverbs-node",
  "uverbs-mode",
  "umad",
  "extra-node",
  "provider",
  "provider-abi",
  "verbs",
  "rdma-cm",
  "hca-unhealthy",
  "no-vfs",
  "selects-nothing",
  "netns-mode",
  "socket-path",
  "kubelet-dir",
  "kubelet-down",
  "selinux",
  "name-taken",
  "cdi-dir",
  "memlock",
  "inotify",
  "dra-api",
  "dra-rights",
  "dra-gates",
  "dra-slices",
  "dra-class",
  "dra-claims",
] as const;
export type FindingId = typeof FINDING_IDS[number];

/**
 * `problem`: pods will not get what they need. `warning`: some will not, or not in every case. `unchecked`: nothing here
 * can tell, so it is neither.
 */
export type Severity = "problem" | "warning" | "unchecked" | "ok";

/** One thing that was checked. */
export interface Finding {
  readonly id: FindingId;
  readonly severity: Severity;
  /** What is wrong (or right), a sentence. */
  readonly what: string;
  /** Why it matters; empty for `ok` and `unchecked`. */
  readonly reason: string;
  /** The command or the change that fixes it; empty for `ok` and `unchecked`. */
  readonly fix: string;
}

export function ok(id: FindingId, what: string): Finding {
  return { id, severity: "ok", what, reason: "", fix: "" };
}
/** @param what names what was not checked, and why it could not be */
export function unchecked(id: FindingId, what: string): Finding {
  return { ...ok(id, what), severity: "unchecked" };
}
export function problem(id: FindingId, what: string, reason: string, fix: string): Finding {
  return { id, severity: "problem", what, reason, fix };
}
export function warning(id: FindingId, what: string, reason: string, fix: string): Finding {
  return { id, severity: "warning", what, reason, fix };
}

/** "1 HCA", "2 HCAs". */
export function count(n: number, noun: string): string {
  return `${n} ${noun}${n === 1 ? "" : "s"}`;
}
