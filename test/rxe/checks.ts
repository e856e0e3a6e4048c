/**
 * What is shown inside the guest, in the order in which it happens: every check goes on with the machine as the one
 * before left it. Names are what the host's test steps are called.
 *
 * @module
 */
import type { Bench } from "./bench.ts";
import { allocationChecks } from "./checks_allocate.ts";
import { changeChecks } from "./checks_change.ts";
import { lifeChecks } from "./checks_life.ts";
import { netnsChecks } from "./checks_netns.ts";

/** One thing that has to be so. */
export interface Check {
  readonly name: string;
  readonly run: (bench: Bench) => Promise<void>;
}

export const CHECKS: readonly Check[] = [
  ...lifeChecks.begin,
  ...allocationChecks,
  ...changeChecks,
  ...netnsChecks,
  ...lifeChecks.end,
];
