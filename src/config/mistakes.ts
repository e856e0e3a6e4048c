/**
 * What is wrong with a config file, in words for the person who wrote it.
 *
 * @module
 */
import { printable, quote } from "../text/printable.ts";

/** One mistake, or one warning: where, under which key, and a sentence. */
export interface Mistake {
  readonly file: string;
  /** From 1; 0 when the mistake is about the file itself (it cannot be read). */
  readonly line: number;
  /** From 1, in UTF-16 units as editors count; 0 with line 0. */
  readonly column: number;
  /** "resources[0].health.ports"; empty for the document itself. */
  readonly path: string;
  /** What was found, what is allowed, and "did you mean" where something is close. */
  readonly message: string;
}

/** Keys and list indices from the document's root down. */
export type Path = readonly (string | number)[];

/** More than this helps nobody, and a hostile file could make millions. */
const SHOWN_AT_MOST = 100;

/** ["resources", 0, "name"] → "resources[0].name". Keys that would be misread are quoted. */
export function pathText(path: Path): string {
  return path.map((step, i) => {
    if (typeof step === "number") return `[${step}]`;
    if (!/^[\w-]{1,60}$/.test(step)) return `[${quote(step)}]`;
    return i === 0 ? step : `.${step}`;
  }).join("");
}

/** One line each: `FILE:LINE:COL: path.to.key: sentence`. */
export function formatMistakes(mistakes: readonly Mistake[]): string {
  return mistakes.map(({ file, line, column, path, message }) =>
    `${line === 0 ? file : `${file}:${line}:${column}`}: ${path === "" ? "" : `${path}: `}${message}`
  ).join("\n");
}

/** In the order of the file, without repetitions, and no more than a person reads; the last one says how many are left out. */
export function inOrder(mistakes: readonly Mistake[]): readonly Mistake[] {
  const sorted = [...mistakes].sort((a, b) => a.line - b.line || a.column - b.column);
  const seen = new Set<string>();
  const distinct = sorted.map(harmless).filter((mistake) => {
    const key = `${mistake.line}:${mistake.column}:${mistake.path}:${mistake.message}`;
    return seen.has(key) ? false : seen.add(key);
  });
  const next = distinct[SHOWN_AT_MOST];
  if (next === undefined) return distinct;
  const more = `and ${distinct.length - SHOWN_AT_MOST} more mistakes from here on, not shown`;
  return [...distinct.slice(0, SHOWN_AT_MOST), { ...next, path: "", message: more }];
}

/** Quoted words of the file are escaped by {@link quote}, but not every character of theirs is harmless to a terminal. */
function harmless(mistake: Mistake): Mistake {
  return { ...mistake, path: printable(mistake.path), message: printable(mistake.message) };
}
