/**
 * Parses and formats durations.
 *
 * @module
 */

const UNITS: Readonly<Record<string, number>> = { ms: 1, s: 1_000, m: 60_000, h: 3_600_000 };

/** The syntax that `parseDuration` accepts, without the range check. */
export const DURATION = /^(?:\d{1,9}(?:\.\d{1,3})?)(?:ms|s|m|h)$/;

/** "500ms", "30s", "1.5m", "1h", or a number of seconds → milliseconds, rounded; null when it is neither. */
export function parseDuration(value: string | number): number | null {
  if (typeof value === "number") return Number.isFinite(value) && value >= 0 ? Math.round(value * 1_000) : null;
  if (!DURATION.test(value)) return null;
  const unit = /[a-z]+$/.exec(value)![0];
  return Math.round(Number(value.slice(0, -unit.length)) * UNITS[unit]!);
}

/** Formats milliseconds in the shortest form that `parseDuration` accepts. */
export function durationText(ms: number): string {
  for (const unit of ["h", "m", "s"]) {
    if (ms > 0 && ms % UNITS[unit]! === 0) return `${ms / UNITS[unit]!}${unit}`;
  }
  return ms === 0 ? "0s" : `${ms}ms`;
}
