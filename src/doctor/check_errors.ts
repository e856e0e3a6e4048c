/**
 * Checks of the counters that `health.errors` names. Whether a rule is exceeded only the running plugin knows.
 *
 * @module
 */
import { counted } from "../text/counted.ts";
import { ruleText } from "../pool/errors.ts";
import type { Facts } from "./facts.ts";
import { type Finding, ok, warning } from "./finding.ts";

export function errorCounters({ inventory, ruleCounters: { found, missing, skipped } }: Facts): Finding[] {
  const findings: Finding[] = [];
  const ruled = [...inventory.states.values()].filter(({ spec }) => spec.health.errors.length > 0);
  if (ruled.length === 0) return findings;
  for (const { counter } of new Map(missing.map(({ rule }) => [rule.counter, rule])).values()) {
    // Adapters of several kinds in one resource have different counters; a name that none has is a mistake.
    if (found.some(({ rule }) => rule.counter === counter)) continue;
    const hca = missing.find(({ rule }) => rule.counter === counter)!.hca;
    findings.push(warning(
      "error-counters",
      `health.errors names ${counter}, and no HCA of the resource has a counter of that name`,
      "the rule never applies on this node, whatever happens to its links",
      `see ls /sys/class/infiniband/${hca}/ports/*/counters /sys/class/infiniband/${hca}/ports/*/hw_counters for the names`,
    ));
  }
  for (const { hca, port, rule, value } of found.filter((one) => one.full)) {
    findings.push(warning(
      "error-counters",
      `${hca}: ${port === null ? "" : `port ${port}'s `}${rule.counter} is at its maximum of ${value}`,
      `it counts no more, so its rule (${ruleText(rule)}) cannot be exceeded`,
      `reset it: perfquery -R -C ${hca} -P ${port ?? 1}, or reload the driver`,
    ));
  }
  for (const hca of skipped) {
    findings.push(warning(
      "error-counters",
      `${hca}: its counters did not answer within a second`,
      "health.errors is not checked there until they do",
      "see dmesg for its driver; firmware that hangs needs a reset of the adapter or the node",
    ));
  }
  if (findings.length > 0) return findings;
  return [ok("error-counters", `${counted(found.length, "counter")} of health.errors can be read`)];
}
