/**
 * What the figures should be, and whether a run has them so.
 *
 * @module
 */
import { quantity } from "./catalogue.ts";
import { type Figure, number, PLUGIN, ratio, summarize } from "./figure.ts";

/** One figure's limit, as it is or as so many times another subject's. */
export interface Target {
  readonly id: string;
  readonly atMost: number;
  /** Times the other's; otherwise in the figure's own unit. */
  readonly isRatio: boolean;
  /** What stands in the way while it is missed. */
  readonly ifMissed: string;
}

const RUNTIME =
  "the runtime's HTTP/2 is JavaScript around nghttp2: a stream, its events and two turns of the loop for " +
  "each call (`--floor` shows it alone)";
const HEAP = "the runtime alone has 10 MiB anonymous and 22 of its own code resident; the rest is the libraries' code";

const absolute = (id: string, atMost: number, ifMissed: string): Target => ({ id, atMost, isRatio: false, ifMissed });
const times = (id: string, atMost: number, ifMissed: string): Target => ({ id, atMost, isRatio: true, ifMissed });

/** In the order of the table. */
export const TARGETS: readonly Target[] = [
  times("allocate.1.p50", 1.3, RUNTIME),
  times("allocate.1.p99", 2, `${RUNTIME}; and V8's collections, each of some milliseconds`),
  absolute("start", 100, "half of it is the runtime's own start and its node modules, which no cache of ours reaches"),
  absolute("memory.idle.rss", 60, HEAP),
  absolute("memory.idle.anonymous", 20, HEAP),
  absolute("memory.rest.anonymous", 30, "V8's heap and compiled code"),
  absolute(
    "scan.quick.1024",
    50 * 1024,
    "the state of each port is asked of the firmware, off the event loop: a thread's turn for each, half of the time",
  ),
  absolute(
    "scan.full.turn",
    20,
    "a scan ends its turn after 5 ms; what is longer is one of V8's collections, here also of the bench's own host",
  ),
  absolute("prefer", 5, "it grows with the devices that may be chosen, and V8 collects what was made for each"),
  absolute("list.long", 10, "a list is one message"),
];

/** Whether a target is met; null when the run does not have the figure. */
export function verdict(target: Target, figures: readonly Figure[], other: string | null): Verdict | null {
  const find = (of: string) => figures.find((one) => one.id === target.id && one.of === of);
  const own = find(PLUGIN);
  if (own === undefined) return null;
  const rival = other === null ? undefined : find(other);
  if (!target.isRatio) return { target, measured: summarize(own).median, met: summarize(own).median <= target.atMost };
  const found = rival === undefined ? null : ratio(own, rival);
  return found === null ? null : { target, measured: found.median, met: found.median <= target.atMost };
}

export interface Verdict {
  readonly target: Target;
  readonly measured: number;
  readonly met: boolean;
}

/** The table of docs/performance.md: each target, what was measured, met or missed with the reason. */
export function targetsTable(figures: readonly Figure[], other: string | null): string {
  const rows = TARGETS.flatMap((target) => {
    const found = verdict(target, figures, other);
    if (found === null) return [];
    const { what, unit } = quantity(target.id);
    const say = (value: number) => target.isRatio ? `${value.toFixed(2)} × ${other}` : `${number(value)} ${unit}`;
    const how = found.met ? "met" : `**missed**: ${target.ifMissed}`;
    return [`| ${what} | at most ${say(target.atMost)} | ${say(found.measured)} | ${how} |\n`];
  });
  return ["| what | target | measured | |\n", "| --- | --- | --- | --- |\n", ...rows].join("");
}
