/**
 * The doctor's findings and their IDs.
 *
 * @module
 */

import type { MistakeCode } from "../config/mistake_codes.ts";

/** All findings in the order of the output; docs/troubleshooting.md has a section for each. */
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
  "error-counters",
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
  "report-api",
  "report-rights",
  "nfd-features",
] as const;
export type FindingId = typeof FINDING_IDS[number];

/**
 * `problem`: pods will not get what they need. `warning`: some pods will not, or not always. `unchecked`: this cannot
 * be determined here.
 */
export type Severity = "problem" | "warning" | "unchecked" | "ok";

/** The result of a check. */
export interface Finding {
  readonly id: FindingId;
  readonly severity: Severity;
  /** What is wrong (or right), as a sentence. */
  readonly what: string;
  /** Why it matters; empty for `ok` and `unchecked`. */
  readonly reason: string;
  /** The command or change that fixes it; empty for `ok` and `unchecked`. */
  readonly fix: string;
  /** What kind of mistake it is; only for `config`. */
  readonly code?: MistakeCode;
}

export function ok(id: FindingId, what: string): Finding {
  return { id, severity: "ok", what, reason: "", fix: "" };
}
/** @param what the part that was not checked, and the reason */
export function unchecked(id: FindingId, what: string): Finding {
  return { ...ok(id, what), severity: "unchecked" };
}
export function problem(id: FindingId, what: string, reason: string, fix: string): Finding {
  return { id, severity: "problem", what, reason, fix };
}
export function warning(id: FindingId, what: string, reason: string, fix: string): Finding {
  return { id, severity: "warning", what, reason, fix };
}
