/**
 * `deno task soak`: hours of a busy node's life in minutes, with the real plugin between a fake host and a fake kubelet:
 * links, drivers, virtual functions, kubelets, configurations and containers come and go; every change must be seen at
 * the kubelet, and what the process holds must stay flat.
 *
 *     deno task soak [--minutes 3] [--registration watcher] [--json]
 *
 * Registration is by the plugin watcher unless `--registration socket` is given. With that the plugin calls the kubelet.
 *
 * Exits 1 when a figure is not flat; a change that is lost ends it at once.
 *
 * @module
 */
import process from "node:process";
import { parseArgs } from "node:util";
import type { Figures } from "./figures.ts";
import { soak, type SoakReport } from "./soak.ts";
import { ROUND_SECONDS } from "./churn.ts";

const MEBIBYTE = 1024 * 1024;
const COLUMNS = ["rss", "anonymous", "heap", "fds", "sockets", "threads"] as const satisfies (keyof Figures)[];

/** Memory in MiB, counts as they are. */
function shown(name: keyof Figures, value: number): string {
  return name === "rss" || name === "anonymous" || name === "heap" ? (value / MEBIBYTE).toFixed(1) : String(value);
}

function row(head: string, cells: readonly string[]): string {
  return `${head.padEnd(14)}${cells.map((cell) => cell.padStart(11)).join("")}\n`;
}

function table(report: SoakReport): string {
  const of = (value: (one: SoakReport["figures"][number]) => string) =>
    COLUMNS.map((name) => value(report.figures.find((one) => one.name === name)!));
  const hours = report.rounds * ROUND_SECONDS / 3_600;
  const done = Object.entries(report.counts).filter(([, count]) => count > 0);
  return [
    row("least", of((one) => shown(one.name, one.least))),
    row("most", of((one) => shown(one.name, one.most))),
    row("2nd quarter", of((one) => shown(one.name, one.from))),
    row("last quarter", of((one) => shown(one.name, one.to))),
    row("", of((one) => one.flat ? "flat" : "RISES")),
    `\n${hours.toFixed(1)} h of a node's life in ${report.seconds.toFixed(0)} s (${report.speed.toFixed(0)} times as ` +
    `fast); memory in MiB; nothing was lost:\n  ${done.map(([what, count]) => `${count} ${what}`).join(", ")}\n`,
  ].join("");
}

const { values } = parseArgs({
  options: {
    minutes: { type: "string", default: "3" },
    registration: { type: "string", default: "watcher" },
    json: { type: "boolean", default: false },
  },
});
if (values.registration !== "watcher" && values.registration !== "socket") {
  process.stderr.write(`--registration takes socket or watcher, and not ${values.registration}\n`);
  process.exit(2);
}
if (!values.json) process.stdout.write(row("round", COLUMNS));
const report = await soak({
  forMs: Number(values.minutes) * 60_000,
  registration: values.registration,
  onSample: (sample, round) => {
    if (values.json || (round > 4 && round % 10 !== 0)) return;
    process.stdout.write(row(String(round), COLUMNS.map((name) => shown(name, sample[name]))));
  },
});
process.stdout.write(values.json ? `${JSON.stringify(report)}\n` : table(report));
process.exitCode = report.figures.every((one) => one.flat) ? 0 : 1;
