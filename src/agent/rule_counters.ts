/**
 * The counters that `health.errors` names, as they are at this moment: for commands that scan the machine once and
 * cannot tell how fast they grow.
 *
 * @module
 */
import { counterMaximum } from "../hca/counter_facts.ts";
import { PortCounters } from "../hca/port_counters.ts";
import { ruleText } from "../pool/errors.ts";
import type { ErrorRule } from "../pool/spec.ts";
import { readValues, rulesByHca } from "./error_watch.ts";
import type { Inventory } from "./inventory.ts";

export interface RuleCounter {
  readonly hca: string;
  /** null for the whole HCA. */
  readonly port: number | null;
  readonly rule: ErrorRule;
  readonly value: bigint;
  /** Whether it is at its maximum, and counts no more until it is reset. */
  readonly full: boolean;
}

/** Everything that the rules name on this machine. */
export interface RuleCounters {
  readonly found: readonly RuleCounter[];
  /** Rules for an HCA that has no such counter. */
  readonly missing: readonly { readonly hca: string; readonly rule: ErrorRule }[];
  /** HCAs that did not answer in time. */
  readonly skipped: readonly string[];
}

/** Reads them; nothing when no resource has rules. Never rejects. */
export async function readRuleCounters(sysfs: string, inventory: Inventory): Promise<RuleCounters> {
  const rules = rulesByHca(inventory);
  if (rules.size === 0) return { found: [], missing: [], skipped: [] };
  const hcas = inventory.snapshot.hcas.filter((hca) => rules.has(hca.name));
  const { answers, skipped } = await readValues(new PortCounters({ sysfs }), hcas, rules);
  const found: RuleCounter[] = [];
  const missing: { hca: string; rule: ErrorRule }[] = [];
  for (const { hca, values } of answers) {
    for (const rule of rules.get(hca) ?? []) {
      const own = values.filter((one) => one.counter === rule.counter);
      if (own.length === 0) missing.push({ hca, rule });
      for (const { port, group, value } of own) {
        const maximum = group === "port" ? counterMaximum(rule.counter) : null;
        found.push({ hca, port, rule, value, full: maximum !== null && value >= BigInt(maximum) });
      }
    }
  }
  return { found, missing, skipped };
}

/** One sentence each about an HCA's counters, for `list`. */
export function ruleNotes({ found, missing, skipped }: RuleCounters, hca: string): readonly string[] {
  const of = <T extends { readonly hca: string }>(all: readonly T[]) => all.filter((one) => one.hca === hca);
  return [
    ...of(found).map(({ port, rule, value, full }) =>
      `${port === null ? "" : `port ${port} `}${rule.counter} ${value} (limit ${ruleText(rule)})` +
      (full ? "; it is at its maximum and counts no more until it is reset" : "")
    ),
    ...of(missing).map(({ rule }) => `it has no counter ${rule.counter} (limit ${ruleText(rule)})`),
    ...skipped.includes(hca) ? ["its counters did not answer in time"] : [],
  ];
}
