/**
 * Mistakes in a config file, worded for its author.
 *
 * @module
 */
import { printable, quote } from "../text/printable.ts";

/** A mistake or warning: position, key, and a sentence. */
export interface Mistake {
  readonly file: string;
  /** From 1; 0 when the mistake concerns the file itself (it cannot be read). */
  readonly line: number;
  /** From 1, in UTF-16 units as editors count; 0 with line 0. */
  readonly column: number;
  /** "resources[0].health.ports"; empty for the document itself. */
  readonly path: string;
  /** What was found, what is allowed, and "did you mean" for a close match. */
  readonly message: string;
}

/** Keys and list indices, starting at the document's root. */
export type Path = readonly (string | number)[];

/** A longer list does not help, and a hostile file could produce millions. */
const SHOWN_AT_MOST = 100;

/** ["resources", 0, "name"] → "resources[0].name". Ambiguous keys are quoted. */
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

/** Mistakes in file order, without duplicates and up to a limit; the last one then says how many were omitted. */
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

/** Escapes the remaining unprintable characters, which {@link quote} leaves as they are. */
function harmless(mistake: Mistake): Mistake {
  return { ...mistake, path: printable(mistake.path), message: printable(mistake.message) };
}
