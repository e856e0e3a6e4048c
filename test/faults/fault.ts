/**
 * One row of the fault suite: what is done to the running plugin, what it promises then, and the proof. The rows of
 * docs/reliability.md are made of these (test/faults/reliability.ts), so a promise without a test cannot be written there.
 *
 * @module
 */
import { type Need, needs } from "../support/need.ts";

export interface Fault {
  /** A sentence; the test's name. */
  readonly name: string;
  /** How the fault is brought about, for the docs. */
  readonly injected: string;
  /** What an operator may count on, for the docs. */
  readonly promise: string;
  readonly needs?: readonly Need[];
  /** Injects the fault into the real process and asserts the promise: kubelet's view, log, recovery, leaks. */
  run(): Promise<void>;
}

/**
 * Makes a test of every row. What must not leak is the plugin's, a process of its own whose files the rows count; this
 * process has the fake kubelet in it, and grpc-js leaves a timer running for every connection that was lost or refused.
 */
export function testFaults(faults: readonly Fault[]): void {
  for (const { name, needs: wanted = [], run } of faults) {
    Deno.test({ name, ...needs(...wanted), sanitizeOps: false, sanitizeResources: false, fn: () => run() });
  }
}

/** How many lines match. */
export function matches(lines: readonly string[], pattern: RegExp): number {
  return lines.filter((line) => pattern.test(line)).length;
}
