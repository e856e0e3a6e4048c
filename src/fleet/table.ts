/**
 * The fleet as text for people. Pure.
 *
 * @module
 */
import { counted } from "../text/counted.ts";
import { printable } from "../text/printable.ts";
import { type Painter, table } from "../text/table.ts";
import type { Problem } from "./problems.ts";
import type { Fleet, NodeRow } from "./rows.ts";
import { isDown, type Summary, summaryOf, type VersionCount } from "./summary.ts";

const HEADER = [
  "NODE",
  "STATE",
  "HCAS",
  "PORTS",
  "Gb/s",
  "FIRMWARE",
  "PLUGIN",
  "PODS",
  "RESOURCE",
  "USED",
  "ALLOC",
  "CAP",
];
const STATE = 1;
/** More pods of one problem are counted, not named. */
const MOST_PODS = 4;

/** What is printed beside the fleet. */
export interface TableOptions {
  /** Print only nodes on which something is down. */
  readonly onlyDown: boolean;
  /** What could not be read, and what is missing because of it. */
  readonly notes: readonly string[];
  /** Milliseconds since the epoch. */
  readonly now: number;
}

/** One line per node and resource, below it what is down there; at the end the totals. */
export function asText(fleet: Fleet, paint: Painter, { onlyDown, notes, now }: TableOptions): string {
  const rows = onlyDown ? fleet.rows.filter(isDown) : fleet.rows;
  const cells = rows.map(cellsOf);
  const lines = table(HEADER, cells.flat(), (row, column, cell) => {
    if (row < 0) return paint("bold", cell);
    return column !== STATE || cell.trim() === "" ? cell : paint(cell.startsWith("DOWN") ? "red" : "green", cell);
  });
  const out: string[] = rows.length > 0 ? [lines[0]!] : [];
  let at = 1;
  rows.forEach((row, i) => {
    out.push(...lines.slice(at, at += cells[i]!.length));
    for (const one of row.problems) out.push(`  ${paint("red", printable(problemLine(one, now)))}`);
  });
  if (rows.length > 0) out.push("");
  out.push(...totals(summaryOf(fleet)), ...notes.map((note) => `note: ${printable(note)}`));
  return `${out.join("\n")}\n`;
}

/** A node's first line, and one for each further resource. */
function cellsOf(row: NodeRow): readonly (readonly string[])[] {
  const head = [
    row.name,
    isDown(row) ? "DOWN" : "ok",
    `${row.hcas ?? "?"}`,
    portsCell(row.ports),
    ratesCell(row.rateGbps),
    versionsCell(Object.keys(row.firmware)),
    versionsCell([...new Set(row.plugins.map((one) => one.version))]),
    `${row.pods.length}`,
  ];
  const resources = row.resources.map(({ name, used, allocatable, capacity }) => [
    name,
    `${used ?? "?"}`,
    `${allocatable}`,
    `${capacity}`,
  ]);
  const [first = ["-", "-", "-", "-"], ...more] = resources;
  return [[...head, ...first], ...more.map((one) => [...head.map(() => ""), ...one])].map((line) =>
    line.map(printable)
  );
}

function portsCell({ active, all }: NodeRow["ports"]): string {
  return all === null ? `${active ?? "?"}` : `${active ?? "?"}/${all}`;
}

function ratesCell(rates: NodeRow["rateGbps"]): string {
  if (rates === null) return "?";
  return rates.least === rates.most ? `${rates.most}` : `${rates.least}-${rates.most}`;
}

function versionsCell(versions: readonly string[]): string {
  const [first = "?", ...more] = versions;
  return more.length === 0 ? first : `${first} +${more.length}`;
}

/** "mlx5_1: port 1 is DOWN (Polling), since 2026-11-30 13:02:11 UTC (12 min), 4 times; pods: ml/train-0" */
function problemLine({ hca, resources, reason, since, times, pods, podsCertain }: Problem, now: number): string {
  const what = hca ?? resources[0] ?? null;
  const when = since === null ? "" : `, since ${timeCell(since)} (${age(now - Date.parse(since))})`;
  const repeats = times > 1 ? `, ${times} times` : "";
  const named = pods.slice(0, MOST_PODS).join(", ");
  const more = pods.length > MOST_PODS ? ` and ${pods.length - MOST_PODS} more` : "";
  const whose = podsCertain ? "pods" : "perhaps of";
  const on = pods.length === 0 ? "" : `; ${whose}: ${named}${more}`;
  return `${what === null ? "" : `${what}: `}${reason}${when}${repeats}${on}`;
}

function timeCell(time: string): string {
  const parsed = Date.parse(time);
  return Number.isNaN(parsed) ? time : new Date(parsed).toISOString().replace("T", " ").replace(/\.\d+Z$/, " UTC");
}

/** "12 min"; the largest whole unit. @param ms how long ago */
export function age(ms: number): string {
  const seconds = Math.max(0, Math.floor(ms / 1_000));
  const units = [[86_400, "d"], [3_600, "h"], [60, "min"]] as const;
  const [size, unit] = units.find(([one]) => seconds >= one * 2) ?? [1, "s"];
  return Number.isNaN(seconds) ? "?" : `${Math.floor(seconds / size)} ${unit}`;
}

function totals(summary: Summary): readonly string[] {
  const { nodes, down, withoutAdapters, hcas, portsActive, portsAll, podsAffected } = summary;
  const lines = [];
  const others = withoutAdapters === 0 ? "" : `, ${withoutAdapters} without`;
  const ports = portsActive === 0 ? "" : `, ${portsActive}${portsAll === 0 ? "" : ` of ${portsAll}`} ports active`;
  const adapters = hcas === 0 ? "" : `; ${counted(hcas, "HCA")}${ports}`;
  lines.push(`${counted(nodes, "node")} with adapters${others}${adapters}`);
  const affected = podsAffected === 0 ? "" : `, under ${counted(podsAffected, "pod")}`;
  lines.push(down === 0 ? "nothing is down" : `something is down on ${counted(down, "node")}${affected}`);
  for (const { name, api, used, allocatable, capacity, nodes: on } of summary.resources) {
    const by = api === "dra" ? " (DRA)" : "";
    lines.push(
      printable(
        `${name}${by}: ${used ?? "?"} used, ${allocatable} allocatable of ${capacity} on ${counted(on, "node")}`,
      ),
    );
  }
  lines.push(...versionLines("firmware", summary.firmware, (one) => `${one.version} on ${counted(one.hcas, "HCA")}`));
  lines.push(...versionLines("plugin", summary.plugins, (one) => `${one.version} on ${counted(one.nodes, "node")}`));
  return lines;
}

/** Of what is rare, some nodes are named: it is what one searches for. */
function versionLines(
  what: string,
  versions: readonly VersionCount[],
  words: (one: VersionCount) => string,
): readonly string[] {
  if (versions.length === 0) return [];
  const parts = versions.map((one, i) => {
    if (i === 0 && versions.length > 1) return words(one);
    const named = one.examples.join(", ") + (one.nodes > one.examples.length ? ", …" : "");
    return versions.length === 1 ? words(one) : `${words(one)} (${named})`;
  });
  return [printable(`${what}: ${parts.join("; ")}`)];
}
