/**
 * `eth1#0-7,9`: a physical function and some of its VFs, in the notation of the SR-IOV network device plugin.
 *
 * @module
 */
import type { PfRange } from "../pool/spec.ts";
import type { MistakeCode } from "./mistake_codes.ts";

/** SR-IOV's NumVFs is a 16-bit register. */
const LAST_VF = 65_535;
/** Inclusive. */
type Interval = readonly [first: number, last: number];

/** The parsed but unexpanded text, or the problem with it. */
export type PfText =
  | { readonly ok: true; readonly pf: string; readonly vfs: readonly Interval[] | null; readonly count: number }
  | { readonly ok: false; readonly code: MistakeCode; readonly problem: string };

/** Parses one item; `problem` continues the sentence `found "…", `. */
export function readPf(text: string): PfText {
  const mark = text.indexOf("#");
  const pf = mark < 0 ? text : text.slice(0, mark);
  if (!/^[^\s/#,]{1,63}$/.test(pf)) {
    return no("invalid-format", `expected a PF's net device name or PCI address first`);
  }
  if (mark < 0) return { ok: true, pf, vfs: null, count: 0 };
  const intervals: Interval[] = [];
  for (const part of text.slice(mark + 1).split(",")) {
    const match = /^(\d{1,9})(?:-(\d{1,9}))?$/.exec(part);
    if (match === null) {
      return no("invalid-format", `expected VF numbers and ranges after "#", such as "${pf}#0-7,9"`);
    }
    const first = Number(match[1]);
    const last = match[2] === undefined ? first : Number(match[2]);
    if (first > last) return no("out-of-range", `the range ${part} is backwards, expected ${last}-${first}`);
    if (last > LAST_VF) return no("out-of-range", `VF ${last} cannot exist, the highest possible is ${LAST_VF}`);
    intervals.push([first, last]);
  }
  const vfs = merged(intervals);
  return { ok: true, pf, vfs, count: vfs.reduce((sum, [first, last]) => sum + last - first + 1, 0) };
}

function no(code: MistakeCode, problem: string): PfText {
  return { ok: false, code, problem };
}

/** The PF and its VF numbers, ascending; the text must have been accepted by `readPf`. */
export function toPfRange(text: string): PfRange {
  const read = readPf(text);
  if (!read.ok) throw new TypeError(`Cannot expand the VF range ${JSON.stringify(text)}: ${read.problem}`);
  const numbers = read.vfs?.flatMap(([first, last]) => Array.from({ length: last - first + 1 }, (_, i) => first + i));
  return { pf: read.pf, vfs: numbers ?? null };
}

/** Ascending intervals without overlap: a list of any length expands to at most 65,536 numbers. */
function merged(intervals: readonly Interval[]): readonly Interval[] {
  const out: Interval[] = [];
  for (const [first, last] of [...intervals].sort((a, b) => a[0] - b[0])) {
    const before = out.at(-1);
    if (before !== undefined && first <= before[1] + 1) out[out.length - 1] = [before[0], Math.max(before[1], last)];
    else out.push([first, last]);
  }
  return out;
}
