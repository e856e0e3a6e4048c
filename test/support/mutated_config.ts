/**
 * Config files that were good once, and what must hold for whatever is made of them.
 *
 * @module
 */
import { readdirSync, readFileSync } from "node:fs";
import * as fc from "fast-check";
import { parse, stringify } from "yaml";
import { MISTAKE_CODES } from "../../src/config/mistake_codes.ts";
import { formatMistakes, type Mistake, parseConfig } from "../../src/config/mod.ts";
import type { ResourceSpec } from "../../src/pool/spec.ts";
import { MALFORMED } from "./malformed.ts";

const EXAMPLES = new URL("../../examples/config/", import.meta.url);

/** One file to parse. */
export interface Candidate {
  readonly file: string;
  readonly text: string;
}

/** Bytes that mean something to YAML, JSON or us. */
const PIECES = [
  ..."\t_\n_\r\n_ _  _- _? _: _#_&a _*a_!x _|\n_>\n_---\n_...\n_%YAML 1.1\n_{_}_[_]_,_\"_'_\\".split("_"),
  ..."\u0000_\uFEFF_\u2028_\u202e_\u009b2J_é_💥_\uD800_<<: _~_null_yes_-1_1e999_.inf_.nan_0x15b3_15e3".split("_"),
  ...["99999999999999999999", "__proto__: ", "constructor: ", "isRdma", "configList: ", "resourceList: ", "shares: 5"],
  ...["eth1#0-7", "eth1#65535-0", "0000:3b:00.0", "rdma/a"],
];

const KEYS = [
  ..."name mode shares share ids select exclude health expose env cdi prefer hcas vendors pfs ports require".split(" "),
  ..."extra devices mounts resourceName RDMAHCAMAX isRdma selectors configList resourceList resources".split(" "),
  ...["__proto__", "constructor", "toString", "", "hasOwnProperty", "\u202edom"],
];

const VALUES: readonly unknown[] = [
  ...[null, true, 0, -1, 1.5, 1e308, 2 ** 53, "", "x", "*", "15b3", "0x8001", "rdma/a", "eth1#0-3", "shared", "one"],
  ...["30s", "any", "/dev/x", "\u0000", "a".repeat(300)],
  ...[[], {}, [[]], [{}], { a: 1 }, [null], { "*": { a: "b" } }, ["eth1#0-65535"], [1, 2]],
];

type Edit = (text: string) => string;

function textEdit(): fc.Arbitrary<Edit> {
  const where = fc.double({ min: 0, max: 1, noNaN: true });
  const at = (text: string, share: number) => Math.floor(share * text.length);
  return fc.oneof(
    fc.tuple(where, fc.constantFrom(...PIECES)).map(([a, piece]): Edit => (text) =>
      text.slice(0, at(text, a)) + piece + text.slice(at(text, a))
    ),
    fc.tuple(where, fc.nat(20)).map(([a, n]): Edit => (text) =>
      text.slice(0, at(text, a)) + text.slice(at(text, a) + n)
    ),
    fc.tuple(where, fc.nat(255)).map(([a, code]): Edit => (text) =>
      text.slice(0, at(text, a)) + String.fromCharCode(code) + text.slice(at(text, a) + 1)
    ),
    fc.tuple(where, where, where).map(([a, b, c]): Edit => (text) => {
      const [from, to] = [at(text, Math.min(a, b)), at(text, Math.max(a, b))];
      return (text.slice(0, at(text, c)) + text.slice(from, to) + text.slice(at(text, c))).slice(0, 20_000);
    }),
    fc.tuple(fc.nat(), fc.nat()).map(([a, b]): Edit => (text) => {
      const lines = text.split("\n");
      const [i, j] = [a % lines.length, b % lines.length];
      [lines[i], lines[j]] = [lines[j]!, lines[i]!];
      return lines.join("\n");
    }),
    fc.tuple(fc.nat(), fc.integer({ min: -4, max: 4 })).map(([a, by]): Edit => (text) => {
      const lines = text.split("\n");
      const i = a % lines.length;
      lines[i] = by >= 0 ? " ".repeat(by) + lines[i] : lines[i]!.slice(-by);
      return lines.join("\n");
    }),
  );
}

/** Replaces, renames, repeats or removes something in the middle of a plain value. */
function valueEdit(): fc.Arbitrary<(value: unknown) => unknown> {
  return fc.record({
    steps: fc.array(fc.nat(30), { maxLength: 6 }),
    how: fc.constantFrom("replace", "rename", "repeat", "remove", "add"),
    key: fc.constantFrom(...KEYS),
    value: fc.constantFrom(...VALUES),
  }).map(({ steps, how, key, value }) => {
    const edit = (node: unknown, depth: number): unknown => {
      const step = steps[depth];
      if (step === undefined || typeof node !== "object" || node === null) return value;
      if (Array.isArray(node)) {
        if (node.length === 0) return [value];
        const i = step % node.length;
        if (depth === steps.length - 1 && how === "repeat") return [...node, node[i]];
        if (depth === steps.length - 1 && how === "remove") return node.toSpliced(i, 1);
        return node.with(i, edit(node[i], depth + 1));
      }
      const entries = Object.entries(node);
      if (entries.length === 0) return { [key]: value };
      const i = step % entries.length;
      const [name, inner] = entries[i]!;
      if (depth === steps.length - 1 && how === "rename") return Object.fromEntries(entries.with(i, [key, inner]));
      if (depth === steps.length - 1 && how === "remove") return Object.fromEntries(entries.toSpliced(i, 1));
      if (depth === steps.length - 1 && how === "add") return Object.fromEntries([...entries, [key, value]]);
      return Object.fromEntries(entries.with(i, [name, edit(inner, depth + 1)]));
    };
    return (root) => edit(root, 0);
  });
}

/** Good configs (and some bad ones) after a few edits of their text or of their values, as YAML or JSON. */
export function mutatedConfigs(): fc.Arbitrary<Candidate> {
  const good = readdirSync(EXAMPLES).map((name) => readFileSync(new URL(name, EXAMPLES), "utf8"));
  const bad = MALFORMED.map((one) => one.text).filter((text) => text.length < 1_000);
  const file = fc.constantFrom("c.yaml", "c.json");
  const byText = fc.record({
    file,
    base: fc.constantFrom(...good, ...good, ...good, ...good, ...bad),
    edits: fc.array(textEdit(), { minLength: 1, maxLength: 3 }),
  }).map(({ file, base, edits }) => ({ file, text: edits.reduce((text, edit) => edit(text), base) }));
  const byValue = fc.record({
    file,
    base: fc.constantFrom(...good.map((text) => parse(text) as unknown)),
    edits: fc.array(valueEdit(), { minLength: 1, maxLength: 2 }),
  }).map(({ file, base, edits }) => {
    const value = edits.reduce((one, edit) => edit(one), base);
    const text = file === "c.json" ? JSON.stringify(value) ?? "" : stringify(value, { aliasDuplicateObjects: false });
    return { file, text };
  });
  return fc.oneof(byText, byValue);
}

/**
 * Parses the candidate and looks at the answer. Throws when something does not hold.
 *
 * @returns whether it was accepted
 */
export function checkCandidate({ file, text }: Candidate): boolean {
  const result = parseConfig(text, file);
  if (result.ok) {
    if (result.config.resources.length === 0) throw new Error("accepted without a resource");
    for (const spec of result.config.resources) soundSpec(spec);
    if (new Set(result.config.resources.map((spec) => spec.name)).size !== result.config.resources.length) {
      throw new Error("accepted with one name twice");
    }
    for (const warning of result.config.warnings) known(warning);
    return true;
  }
  if (result.mistakes.length === 0) throw new Error("refused without a mistake");
  for (const mistake of result.mistakes) {
    known(mistake);
    if (mistake.line < 1 || mistake.column < 1) throw new Error(`no position: ${formatMistakes([mistake])}`);
    if (/undefined|\[object|Invalid input/.test(mistake.message.replaceAll(/"[^"]*"/g, ""))) {
      throw new Error(`not for people: ${formatMistakes([mistake])}`);
    }
  }
  return false;
}

/** One line, with a code that is documented. */
function known(mistake: Mistake): void {
  oneLine(formatMistakes([mistake]));
  if (!Object.hasOwn(MISTAKE_CODES, mistake.code)) throw new Error(`no code: ${formatMistakes([mistake])}`);
}

function oneLine(text: string): void {
  if (/[\p{Cc}\p{Cf}\p{Zl}\p{Zp}]/u.test(text) || text.length > 1_000) {
    throw new Error(`not one readable line: ${JSON.stringify(text)}`);
  }
}

/** What the policy relies on. */
function soundSpec(spec: ResourceSpec): void {
  const wrong: string[] = [];
  const must = (holds: boolean, what: string) => holds || wrong.push(what);
  must(/^[^/\s]+\/[^/\s]+$/.test(spec.name), "name");
  must(spec.mode.kind === "exclusive" || (Number.isInteger(spec.mode.shares) && spec.mode.shares > 0), "shares");
  for (const selector of [...spec.select, ...spec.exclude]) {
    for (const [key, value] of Object.entries(selector)) {
      must(!Array.isArray(value) || value.length > 0, `${key} is empty`);
      must(value !== undefined && value !== null, `${key} is nothing`);
    }
    must([...selector.vendors ?? [], ...selector.devices ?? []].every((id) => /^[0-9a-f]{4}$/.test(id)), "hex IDs");
    must((selector.pkeys ?? []).every((key) => /^0x[0-9a-f]{4}$/.test(key)), "pkeys");
    for (const { vfs } of selector.pfs ?? []) {
      must(vfs === null || vfs.every((vf, i) => i === 0 || vf > vfs[i - 1]!), "VFs");
    }
  }
  const { settleMs, graceMs, ports } = spec.health;
  must(Number.isInteger(settleMs) && settleMs >= 0 && Number.isInteger(graceMs) && graceMs >= 0, "health times");
  must(ports === null || ports.length > 0, "ports");
  must([...spec.expose.devices, ...spec.expose.mounts].every((one) => one.containerPath.startsWith("/")), "paths");
  must(Object.values(spec.env.extra).every((value) => typeof value === "string"), "variables");
  if (wrong.length > 0) throw new Error(`accepted with unsound ${wrong.join(", ")}: ${JSON.stringify(spec)}`);
}
