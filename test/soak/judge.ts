/**
 * Whether a figure of a process that works the same all the time stays where it is. Pure.
 *
 * A leak is told from a collector's sawtooth by three questions that a leak answers with yes and a sawtooth does not:
 * does the middle of the values rise, does the line through them rise, and does their floor rise? The start is left
 * out, since every program grows while it warms up.
 *
 * @module
 */
import { median } from "../support/statistics.ts";

/** What became of one figure. */
export interface Verdict {
  readonly flat: boolean;
  /** Medians of the second and the last quarter of the values. */
  readonly from: number;
  readonly to: number;
  /** What the line through the values rises by from one value to the next. */
  readonly slope: number;
  /** How much of a rise all three questions agree on; 0 or less when they do not. */
  readonly growth: number;
}

/** Fewer values than that say nothing. */
export const FEWEST = 8;

/**
 * Judges values that were taken one after the other, each after the same work.
 *
 * @param allowance how much the figure may rise between the second and the last quarter, in its own unit
 * @throws RangeError for fewer than {@link FEWEST} values
 */
export function judge(values: readonly number[], allowance: number): Verdict {
  if (values.length < FEWEST) {
    throw new RangeError(`Cannot judge ${values.length} values: it takes ${FEWEST} to tell a rise from chance`);
  }
  const quarter = Math.floor(values.length / 4);
  const second = values.slice(quarter, 2 * quarter);
  const last = values.slice(-quarter);
  const slope = line(values.slice(quarter));
  const from = median(second);
  const to = median(last);
  // Between the middles of the second and the last quarter lies half of the values.
  const growth = Math.min(to - from, slope * values.length / 2, Math.min(...last) - Math.min(...second));
  return { flat: growth <= allowance, from, to, slope, growth };
}

/** Slope of the line through the values by Theil and Sen: the median of the slopes of all pairs, deaf to outliers. */
function line(values: readonly number[]): number {
  const slopes: number[] = [];
  for (let i = 0; i < values.length; i++) {
    for (let j = i + 1; j < values.length; j++) slopes.push((values[j]! - values[i]!) / (j - i));
  }
  return median(slopes);
}
