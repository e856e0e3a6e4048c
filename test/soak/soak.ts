/**
 * A soak: rounds of churn with a sample after each, and the judgement over all of them.
 *
 * @module
 */
import { AT_FIRST, Churn, type Counts, ROUND_SECONDS } from "./churn.ts";
import type { Figures } from "./figures.ts";
import { FEWEST, judge } from "./judge.ts";
import { type Registration, World } from "./world.ts";

const MEBIBYTE = 1024 * 1024;

/** MiB that memory may rise by in minutes: garbage and the runtime's own pools. A KiB an event would be 10 MiB a minute. */
const ROOM = 12;

/** Threads that the runtime's pool for files may grow by; it shrinks with the work. */
const THREADS = 16;

/** What is judged: memory with room for a rise, threads too; what is counted must in the end be what was the least. */
const JUDGED: Readonly<Record<keyof Figures, "memory" | "threads" | "count">> = {
  rss: "memory",
  anonymous: "memory",
  heap: "memory",
  fds: "count",
  sockets: "count",
  threads: "threads",
};

/** Milliseconds for connections to be closed: between rounds, and in the end, when every one must be. */
const PATIENCE = { each: 500, last: 45_000 };

/** One figure over the whole soak. */
export interface FigureReport {
  readonly name: keyof Figures;
  readonly least: number;
  readonly most: number;
  /** Medians of the second and the last quarter; the least and the last value of what is counted. */
  readonly from: number;
  readonly to: number;
  readonly flat: boolean;
}

export interface SoakReport {
  readonly rounds: number;
  readonly seconds: number;
  /** How much faster than the life it plays. */
  readonly speed: number;
  readonly counts: Counts;
  readonly samples: readonly Figures[];
  readonly figures: readonly FigureReport[];
}

/**
 * Plays rounds until both the time is over and there are enough of them to judge.
 *
 * @throws when something was not seen at the kubelet, or an answer was wrong
 */
export async function soak(
  options: {
    readonly forMs: number;
    readonly registration: Registration;
    /** MiB that memory may rise by; a process that has just begun takes more before it collects for the first time. */
    readonly room?: number;
    readonly onSample?: (sample: Figures, round: number) => void;
  },
): Promise<SoakReport> {
  await using world = await World.start(AT_FIRST, options.registration);
  const churn = new Churn(world);
  // The first round is warming up: code is loaded and compiled, pools are made.
  await churn.round();
  const start = performance.now();
  const samples: Figures[] = [];
  do {
    await churn.round();
    const enough = samples.length + 1 >= FEWEST && performance.now() - start >= options.forMs;
    samples.push(await world.sample(enough ? PATIENCE.last : PATIENCE.each));
    options.onSample?.(samples.at(-1)!, samples.length);
    if (enough) break;
  } while (true);
  const seconds = (performance.now() - start) / 1e3;
  return {
    rounds: samples.length,
    seconds,
    speed: samples.length * ROUND_SECONDS / seconds,
    counts: churn.counts,
    samples,
    figures: (Object.keys(JUDGED) as (keyof Figures)[]).map((name) =>
      report(name, samples.map((one) => one[name]), options.room ?? ROOM)
    ),
  };
}

function report(name: keyof Figures, values: readonly number[], room: number): FigureReport {
  const least = Math.min(...values);
  const most = Math.max(...values);
  const last = values.at(-1)!;
  // Connections that were given up are closed in their own time, but in the end there are no more than at first.
  if (JUDGED[name] === "count") return { name, least, most, from: least, to: last, flat: last === least };
  const { from, to, flat } = judge(values, JUDGED[name] === "threads" ? THREADS : room * MEBIBYTE);
  return { name, least, most, from, to, flat };
}
