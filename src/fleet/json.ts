/**
 * The fleet for scripts, in parts: as one text, that of a large one would need as much memory as all the rest. Pure.
 *
 * @module
 */
import { escapeUnprintable } from "../text/printable.ts";
import type { Fleet, NodeRow } from "./rows.ts";
import { isDown, summaryOf } from "./summary.ts";

/** Rows of one part. */
const PART = 200;

/** What is said beside the fleet. */
export interface JsonOptions {
  /** Give only nodes on which something is down. */
  readonly onlyDown: boolean;
  /** What could not be read. */
  readonly missing: readonly { readonly what: string; readonly reason: string; readonly without: string }[];
  /** Milliseconds since the epoch. */
  readonly now: number;
}

/** One JSON object in one line, in parts. */
export function* asJson(fleet: Fleet, { onlyDown, missing, now }: JsonOptions): Generator<string> {
  const rows = onlyDown ? fleet.rows.filter(isDown) : fleet.rows;
  const head = JSON.stringify({ time: new Date(now).toISOString(), summary: summaryOf(fleet), missing });
  yield `${escapeUnprintable(head.slice(0, -1))},"nodes":[`;
  for (let i = 0; i < rows.length; i += PART) {
    const part = rows.slice(i, i + PART).map((row) => escapeUnprintable(JSON.stringify(rowJson(row)))).join(",");
    yield i === 0 ? part : `,${part}`;
  }
  yield "]}\n";
}

/** A row under its own names, with what a script would have to work out. */
export function rowJson(row: NodeRow): object {
  return { ...row, state: isDown(row) ? "down" : "ok" };
}
