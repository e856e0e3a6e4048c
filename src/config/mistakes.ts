/**
 * Mistakes in a config file or on a command line, worded for their author.
 *
 * @module
 */
import { printable, quote } from "../text/printable.ts";
import type { MistakeCode } from "./mistake_codes.ts";

/** What is wrong. */
export interface Problem {
  readonly code: MistakeCode;
  /** "resources[0].health.ports", empty for the document itself; or "--log-level". */
  readonly path: string;
  /** What was found and what is allowed. */
  readonly message: string;
  /** What was probably meant, or what to do instead, as the end of the sentence. */
  readonly hint: string | null;
}

/** A mistake or warning about a place of a file. */
export interface Mistake extends Problem {
  readonly file: string;
  /** From 1; 0 when the mistake concerns the file itself (it cannot be read). */
  readonly line: number;
  /** From 1, in UTF-16 units as editors count; 0 with line 0. */
  readonly column: number;
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

/** `FILE:LINE:COL: path.to.key: sentence` for a file, for a flag the sentence alone. */
export function sentenceOf(one: Problem | Mistake): string {
  const { path, message, hint } = one;
  const sentence = hint === null ? message : `${message}; ${hint}`;
  if (!("file" in one)) return sentence;
  const { file, line, column } = one;
  return `${line === 0 ? file : `${file}:${line}:${column}`}: ${path === "" ? "" : `${path}: `}${sentence}`;
}

/** One line each: {@link sentenceOf}, then the code in brackets. */
export function formatMistakes(mistakes: readonly (Problem | Mistake)[]): string {
  return mistakes.map((one) => `${sentenceOf(one)} [${one.code}]`).join("\n");
}

/** Mistakes in file order, without duplicates and up to a limit; the last one then says how many were omitted. */
export function inOrder(mistakes: readonly Mistake[]): readonly Mistake[] {
  const sorted = [...mistakes].sort((a, b) => a.line - b.line || a.column - b.column);
  const seen = new Set<string>();
  const distinct = sorted.map(harmless).filter((mistake) => {
    const key = `${mistake.line}:${mistake.column}:${sentenceOf(mistake)}`;
    return seen.has(key) ? false : seen.add(key);
  });
  const next = distinct[SHOWN_AT_MOST];
  if (next === undefined) return distinct;
  const message = `and ${distinct.length - SHOWN_AT_MOST} more mistakes from here on, not shown`;
  return [...distinct.slice(0, SHOWN_AT_MOST), { ...next, code: "not-shown", path: "", message, hint: null }];
}

/** Escapes the remaining unprintable characters, which {@link quote} leaves as they are. */
function harmless(mistake: Mistake): Mistake {
  const { path, message, hint } = mistake;
  return {
    ...mistake,
    path: printable(path),
    message: printable(message),
    hint: hint === null ? null : printable(hint),
  };
}
