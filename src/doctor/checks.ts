/**
 * All checks, in reading order. A check is a pure function from facts to findings, which contain what is wrong, why it
 * matters and how to fix it. Unusual but harmless states are not findings.
 *
 * @module
 */
import { runtime } from "./check_runtime.ts";
import { configuration, sandbox } from "./check_setting.ts";
import { kubelet, names, selinux } from "./check_kubelet.ts";
import { errorCounters } from "./check_errors.ts";
import { cdi, limits } from "./check_limits.ts";
import { hcas, modules } from "./check_machine.ts";
import { connectionManager, mads, nodes } from "./check_nodes.ts";
import { providers, verbs } from "./check_providers.ts";
import { extraNodes, health, netns, resources } from "./check_resources.ts";
import { api, claims, classes, gates, rights, slices } from "./check_dra.ts";
import { features, reportApi } from "./check_reports.ts";
import type { Facts } from "./facts.ts";
import type { Finding } from "./finding.ts";

const CHECKS: readonly ((facts: Facts) => readonly Finding[])[] = [
  runtime,
  sandbox,
  configuration,
  modules,
  hcas,
  nodes,
  mads,
  extraNodes,
  providers,
  verbs,
  connectionManager,
  health,
  errorCounters,
  resources,
  netns,
  kubelet,
  selinux,
  names,
  cdi,
  limits,
  api,
  rights,
  gates,
  slices,
  classes,
  claims,
  reportApi,
  features,
];

/** Runs all checks. */
export function examine(facts: Facts): readonly Finding[] {
  return CHECKS.flatMap((check) => check(facts));
}
