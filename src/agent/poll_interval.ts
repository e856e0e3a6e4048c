/**
 * How often the states of ports are polled between scans, where no event reports them.
 *
 * @module
 */

/** What one poll costs. */
export interface PollCost {
  /** Milliseconds of processor time. */
  readonly cpuMs: number;
  /** Milliseconds from the first question to the last answer: on some drivers firmware answers, and takes its time. */
  readonly elapsedMs: number;
}

/** What the interval follows from. */
export interface PollFacts {
  /** As measured lately; null before the first poll. */
  readonly cost: PollCost | null;
  readonly hcas: number;
  /** Whether events tell of every port: then nothing is polled. */
  readonly eventsLive: boolean;
  /** Milliseconds between timer scans, which find everything that a poll does; 0: nothing is read by the clock. */
  readonly rescanMs: number;
}

/** The shortest interval, however cheap a poll is. Milliseconds. */
const LEAST_MS = 250;

/** Part of one core that polls may take. */
const CPU_SHARE = 1 / 1_000;

/** Part of the time in which a question may be with the firmware: it has other work, and answers one at a time. */
const BUSY_SHARE = 1 / 20;

/** Milliseconds for the questions about one HCA, until it has been measured. */
const PER_HCA_MS = 0.05;

/** Weight of the newest measurement in the average. */
const NEWEST = 1 / 8;

/** Milliseconds from one poll to the next; null for no polls at all. */
export function pollInterval({ cost, hcas, eventsLive, rescanMs }: PollFacts): number | null {
  if (eventsLive || rescanMs === 0) return null;
  const { cpuMs, elapsedMs } = cost ?? expectedCost(hcas);
  const ms = Math.ceil(Math.max(LEAST_MS, cpuMs / CPU_SHARE, elapsedMs / BUSY_SHARE));
  return ms < rescanMs ? ms : null;
}

/** What a poll of so many HCAs is taken to cost before the first. */
export function expectedCost(hcas: number): PollCost {
  return { cpuMs: hcas * PER_HCA_MS, elapsedMs: hcas * PER_HCA_MS };
}

/** The average after one more measurement: one slow poll on a busy machine must not stop those that follow. */
export function averageCost(before: PollCost, now: PollCost): PollCost {
  const mix = (old: number, newest: number) => old + (newest - old) * NEWEST;
  return { cpuMs: mix(before.cpuMs, now.cpuMs), elapsedMs: mix(before.elapsedMs, now.elapsedMs) };
}
