/**
 * Figures: what was measured, of whom, in every run; whether all are there; and how they are printed.
 *
 * @module
 */
import { QUANTITIES, quantity } from "./catalogue.ts";
import { median } from "../test/support/statistics.ts";

/** One quantity of one subject. */
export interface Figure {
  /** In the catalogue. */
  readonly id: string;
  /** Whose it is: "plugin", or the name of what it is measured against. */
  readonly of: string;
  /** The value of every run, in order. */
  readonly runs: readonly number[];
}

/** A figure in short. */
export interface Summary {
  readonly median: number;
  readonly least: number;
  readonly most: number;
}

/** Our plugin's name among the subjects. */
export const PLUGIN = "plugin";

/** @throws RangeError when there was no run */
export function summarize({ id, runs }: Figure): Summary {
  if (runs.length === 0) throw new RangeError(`Cannot summarize ${id}: it was never measured`);
  return { median: median(runs), least: Math.min(...runs), most: Math.max(...runs) };
}

/** Collects the values of several runs under the name of what they measure. */
export class Figures {
  readonly #all = new Map<string, Figure & { readonly runs: number[] }>();
  readonly #leftOut = new Map<string, string>();

  /** @throws RangeError when the catalogue has no such figure, or the value is no number */
  add(of: string, id: string, value: number): void {
    if (!Number.isFinite(value)) throw new RangeError(`Cannot record ${quantity(id).id} of ${of}: it is ${value}`);
    const key = `${of} ${quantity(id).id}`;
    const figure = this.#all.get(key) ?? { id, of, runs: [] };
    figure.runs.push(value);
    this.#all.set(key, figure);
  }

  /** Says why our plugin's figures whose names begin so are not measured on this machine. */
  leaveOut(prefix: string, why: string): void {
    for (const { id } of QUANTITIES) if (id.startsWith(prefix)) this.#leftOut.set(id, why);
  }

  get all(): readonly Figure[] {
    return [...this.#all.values()];
  }

  /** Why, by the figure's name. */
  get leftOut(): Readonly<Record<string, string>> {
    return Object.fromEntries(this.#leftOut);
  }
}

/** What is wrong with a whole run: figures of ours that are not there, and counts that are not what they must be. */
export function mistakes({ all, leftOut }: Pick<Figures, "all" | "leftOut">): readonly string[] {
  return QUANTITIES.flatMap(({ id, exactly }) => {
    const figure = all.find((one) => one.id === id && one.of === PLUGIN);
    if (figure === undefined) return id in leftOut ? [] : [`${id} was not measured`];
    const wrong = exactly === undefined ? undefined : figure.runs.find((value) => value !== exactly);
    return wrong === undefined ? [] : [`${id} is ${wrong}, and must be ${exactly}`];
  });
}

/** A line per quantity: our median and spread, and for each of the others the same and the ratio of the medians. */
export function table(figures: readonly Figure[]): string {
  return aligned(rows(figures));
}

/** The same in Markdown, without the spread of the others' own figures: their ratios have it. */
export function markdown(figures: readonly Figure[]): string {
  const [head = [], ...rest] = rows(figures);
  const kept = head.map((title, column) => column < 4 || title !== SPREAD || head[column - 1] === "ratio");
  const line = (cells: readonly string[]) => `| ${cells.filter((_, column) => kept[column]).join(" | ")} |\n`;
  return [line(head), line(head.map((_, column) => column === 0 ? "---" : "---:")), ...rest.map(line)].join("");
}

const SPREAD = "least … most";

function rows(figures: readonly Figure[]): readonly (readonly string[])[] {
  const others = [...new Set(figures.map((one) => one.of))].filter((name) => name !== PLUGIN);
  const rows = [["", PLUGIN, SPREAD, "", ...others.flatMap((name) => [name, SPREAD, "ratio", SPREAD])]];
  for (const { id, what, unit } of QUANTITIES) {
    const find = (of: string) => figures.find((one) => one.id === id && one.of === of);
    const own = find(PLUGIN);
    if (own === undefined) continue;
    const mine = summarize(own);
    rows.push([
      what,
      number(mine.median),
      spread(own),
      unit,
      ...others.flatMap((name) => {
        const other = find(name);
        const ratios = other === undefined ? null : ratio(own, other);
        if (other === undefined) return ["", "", "", ""];
        return [number(summarize(other).median), spread(other), ...ratios === null ? ["", ""] : twoDigits(ratios)];
      }),
    ]);
  }
  return rows;
}

/**
 * How often one figure is as much as another: of the medians, and the least and the most of what one run has. Runs are
 * in turns, so the machine's other work is in both. Null when there is nothing to divide by.
 */
export function ratio(own: Figure, other: Figure): Summary | null {
  const { median } = summarize(other);
  const pairs = other.runs.flatMap((value, run) => value > 0 && run < own.runs.length ? [own.runs[run]! / value] : []);
  if (median === 0 || pairs.length === 0) return null;
  return { median: summarize(own).median / median, least: Math.min(...pairs), most: Math.max(...pairs) };
}

function twoDigits({ median, least, most }: Summary): readonly [string, string] {
  return [median.toFixed(2), least === most ? "" : `${least.toFixed(2)} … ${most.toFixed(2)}`];
}

/** Columns of the same width; the first and units to the left, numbers to the right. */
export function aligned(rows: readonly (readonly string[])[]): string {
  const widths = rows[0]!.map((_, column) => Math.max(...rows.map((row) => row[column]!.length)));
  const cell = (text: string, column: number) =>
    column === 0 || rows[0]![column] === "" ? text.padEnd(widths[column]!) : text.padStart(widths[column]!);
  return rows.map((row) => `${row.map(cell).join("  ").trimEnd()}\n`).join("");
}

function spread(figure: Figure): string {
  const { least, most } = summarize(figure);
  return least === most ? "" : `${number(least)} … ${number(most)}`;
}

/** A number for people: three digits that count, and no more than one behind the point of anything above ten. */
export function number(value: number): string {
  if (Number.isInteger(value)) return value.toLocaleString("en-US");
  return value >= 100 ? value.toFixed(0) : value >= 10 ? value.toFixed(1) : value.toFixed(2);
}
