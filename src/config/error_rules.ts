/**
 * `health.errors`: counters and how many errors within which time are too many.
 *
 * @module
 */
import { counterMaximum, ERROR_COUNTERS, NO_COUNTERS, TRAFFIC_COUNTERS } from "../hca/counter_facts.ts";
import type { ErrorRule } from "../pool/spec.ts";
import { durationText, parseDuration } from "../text/duration.ts";
import { hint } from "../text/nearest.ts";
import { quote } from "../text/printable.ts";
import type { Finding } from "./checks.ts";

/** "5 per 10m". */
export const ERROR_RATE = /^(\d{1,9}) per (\d{1,9}(?:\.\d{1,3})?(?:ms|s|m|h))$/;

const EXPECTED = `expected a limit and a window such as "5 per 10m"`;
const SHORTEST_MS = 1_000;
const LONGEST_MS = 86_400_000;

/** What is wrong with the text, the message as the end of a sentence; null when it can be read. */
export function errorRateProblem(text: string): Pick<Finding, "code" | "message"> | null {
  const found = ERROR_RATE.exec(text);
  if (found === null) return { code: "invalid-format", message: EXPECTED };
  if (Number(found[1]) === 0) {
    return { code: "out-of-range", message: `a limit of 0 makes every device Unhealthy for ever; ${EXPECTED}` };
  }
  const ms = parseDuration(found[2]!)!;
  if (ms >= SHORTEST_MS && ms <= LONGEST_MS) return null;
  const range = `${durationText(SHORTEST_MS)} to ${durationText(LONGEST_MS)}`;
  return { code: "out-of-range", message: `the window ${found[2]} is out of range, expected one from ${range}` };
}

/** Converts what {@link errorRateProblem} has nothing against. */
export function toErrorRules(errors: Readonly<Record<string, string>>): readonly ErrorRule[] {
  return Object.entries(errors).map(([counter, text]) => {
    const found = ERROR_RATE.exec(text);
    if (found === null) throw new TypeError(`Cannot read the limit ${JSON.stringify(text)}: the schema accepts it`);
    return { counter, limit: Number(found[1]), windowMs: parseDuration(found[2]!)! };
  });
}

/** Counters that cannot be meant. */
export function errorRuleProblems(errors: Readonly<Record<string, string>>): readonly Finding[] {
  const path = (counter: string) => ["health", "errors", counter];
  return Object.keys(errors).flatMap((counter): Finding[] => {
    if (TRAFFIC_COUNTERS.includes(counter)) {
      return [{
        path: path(counter),
        code: "wrong-counter",
        message: "counts traffic, not errors: devices that are used would be Unhealthy",
      }];
    }
    if (NO_COUNTERS.includes(counter)) {
      return [{ path: path(counter), code: "wrong-counter", message: "is a setting of the driver, not a counter" }];
    }
    return [];
  });
}

/**
 * Rules that probably never apply. A name that is not known is allowed, because each driver, and each version of one, has
 * counters of its own; `doctor` says whether the HCAs of a node have it.
 */
export function errorRuleWarnings(rules: readonly ErrorRule[]): readonly Finding[] {
  return rules.flatMap(({ counter, limit }): Finding[] => {
    const path = ["health", "errors", counter];
    const maximum = counterMaximum(counter);
    if (maximum !== null && limit > maximum) {
      return [{
        path,
        code: "no-effect",
        message:
          `the counter stops at ${maximum}, so its limit of ${limit} is never reached (unless a driver has one ` +
          "of that name of its own)",
      }];
    }
    if (ERROR_COUNTERS.includes(counter)) return [];
    return [{
      path,
      code: "wrong-counter",
      message:
        `${quote(counter)} is no counter of the kernel's or of a driver that is known here; it counts only where ` +
        "an HCA has a file of that name",
      hint: hint(counter, ERROR_COUNTERS),
    }];
  });
}
