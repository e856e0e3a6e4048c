/**
 * Hosts whose counters are not as `health.errors` has them, and what the doctor finds there.
 *
 * @module
 */
import { DEFAULT_SPEC, type ResourceSpec } from "../../src/pool/spec.ts";
import type { Broken } from "./broken_hosts.ts";

const rule = (counter: string, limit = 5) => ({ counter, limit, windowMs: 600_000 });

function withRules(limits: Readonly<Record<string, number>>): ResourceSpec {
  const errors = Object.entries(limits).map(([counter, limit]) => rule(counter, limit));
  return { ...DEFAULT_SPEC, health: { ...DEFAULT_SPEC.health, errors } };
}

export const BROKEN_COUNTERS: readonly Broken[] = [
  {
    what: "a counter of health.errors that no HCA has",
    specs: [withRules({ link_downd: 5 })],
    over: { ruleCounters: { found: [], missing: [{ hca: "mlx5_0", rule: rule("link_downd") }], skipped: [] } },
    finds: ["warning error-counters"],
    says: /names link_downd/,
  },
  {
    what: "a counter of health.errors that is at its maximum",
    specs: [withRules({ link_downed: 5 })],
    over: {
      ruleCounters: {
        found: [{ hca: "mlx5_0", port: 1, rule: rule("link_downed"), value: 255n, full: true }],
        missing: [],
        skipped: [],
      },
    },
    finds: ["warning error-counters"],
    says: /perfquery -R -C mlx5_0 -P 1/,
  },
  {
    what: "counters of health.errors that do not answer",
    specs: [withRules({ link_downed: 5 })],
    over: { ruleCounters: { found: [], missing: [], skipped: ["mlx5_0"] } },
    finds: ["warning error-counters"],
    says: /did not answer/,
  },
];
