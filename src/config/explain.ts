/**
 * Converts schema issues to sentences with positions.
 *
 * @module
 */
import type { core } from "zod";
import type { Source, Tree } from "./document.ts";
import type { MistakeCode } from "./mistake_codes.ts";
import type { Mistake, Path } from "./mistakes.ts";
import { pathText } from "./mistakes.ts";
import { quote } from "../text/printable.ts";
import { hint, nearest } from "../text/nearest.ts";
import { keyAt, valueAt } from "./tree.ts";

type Issue = core.$ZodIssue;

/**
 * Converts all issues of a failed parse to mistakes.
 *
 * @param value the plain value that was parsed
 * @param tree the tree that the value was made from; its root is the parsed value's root
 */
export function explain(issues: readonly Issue[], value: unknown, tree: Tree, source: Source): Mistake[] {
  const meant = new Set<string>();
  const mistakes = issues.flatMap((issue) => one(issue, [], { value, tree, source, meant }));
  // A key that is present under a misspelt name is not reported as missing as well.
  return mistakes.filter(({ path, code }) => !(code === "missing" && meant.has(path)));
}

interface Place {
  readonly value: unknown;
  readonly tree: Tree;
  readonly source: Source;
  /** Paths of the keys that misspelt ones were probably meant to be. */
  readonly meant: Set<string>;
}

function one(issue: Issue, above: Path, place: Place): Mistake[] {
  const path = [...above, ...issue.path as Path];
  const at = valueAt(place.tree, path);
  const found = path.reduce<unknown>(step, place.value);
  const code = codeOf(issue, found);
  const say = (message: string, hint: string | null = null) => [place.source.mistake(at, path, code, message, hint)];
  const mismatch = () =>
    say(`found ${described(found)}, expected ${issue.message}`, advice(found, issue.message, words(issue)));
  switch (issue.code) {
    case "custom":
      return issue.params?.phrase === true ? mismatch() : say(issue.message);
    case "unrecognized_keys":
      return issue.keys.map((key) => unknownKey(key, issue.message.split(","), [...path, key], place));
    case "invalid_key": {
      const phrase = issue.issues[0]?.message ?? "another key";
      const message = `found the key ${quote(String(path.at(-1)))}, expected ${phrase}`;
      return [place.source.mistake(keyAt(place.tree, path), path, code, message)];
    }
    case "invalid_union": {
      // Uses the issues of the union branch that accepts this kind of value.
      const meant = issue.errors.find((issues) => issues.length > 0 && issues.every((inner) => inner.path.length > 0));
      if (meant !== undefined) return meant.flatMap((inner) => one(inner, path, place));
      const strict = issue.errors.find((issues) => issues.length > 0 && issues.every((inner) => isInside(inner)));
      if (strict !== undefined) return strict.flatMap((inner) => one(inner, path, place));
      return mismatch();
    }
    default:
      return found === undefined ? say(`is missing, expected ${issue.message}`) : mismatch();
  }
}

/** The code for what the schema has against the value. */
function codeOf(issue: Issue, found: unknown): MistakeCode {
  switch (issue.code) {
    case "custom":
      return issue.params?.code as MistakeCode;
    case "unrecognized_keys":
      return "unknown-key";
    case "invalid_key":
    case "invalid_format":
      return "invalid-format";
    case "too_small":
      return issue.origin === "array" ? "empty" : "out-of-range";
    case "too_big":
      return issue.origin === "array" ? "too-large" : "out-of-range";
    case "invalid_union":
      // Of the branches, the one that accepts this kind of value says more than that the others do not.
      return issue.errors.flat().map((inner) => codeOf(inner, found)).find((code) => code !== "wrong-type") ??
        "wrong-type";
    default:
      if (found === undefined) return "missing";
      return issue.code === "invalid_value" && typeof found === "string" && words(issue).length > 0
        ? "unknown-value"
        : "wrong-type";
  }
}

/** Whether the value has the right kind and the issue is about its content. */
function isInside(issue: Issue): boolean {
  return issue.path.length > 0 || issue.code === "unrecognized_keys" ||
    (issue.code === "custom" && issue.params?.phrase !== true) ||
    (issue.code === "too_small" || issue.code === "too_big") && issue.origin === "array";
}

function unknownKey(key: string, known: readonly string[], path: Path, { tree, source, meant }: Place): Mistake {
  const near = PEERS_WORDS.get(key.toLowerCase())?.find((word) => known.includes(word)) ?? nearest(key, known);
  if (near !== null) meant.add(pathText([...path.slice(0, -1), near]));
  const instead = near === null ? `expected one of ${known.join(", ")}` : `did you mean ${quote(near)}?`;
  return source.mistake(keyAt(tree, path), path, "unknown-key", "unknown key", instead);
}

/** Names of the peers' keys in lower case, with their names here. */
const PEERS_WORDS: ReadonlyMap<string, readonly string[]> = new Map([
  ["ifnames", ["netdevs"]],
  ["deviceids", ["devices"]],
  ["linktypes", ["linkLayers"]],
  ["linktype", ["linkLayers"]],
  ["pfnames", ["pfs"]],
  ["rootdevices", ["pfs"]],
  ["resourcename", ["name"]],
  ["rdmahcamax", ["shares"]],
  ["selectors", ["select"]],
  ["periodicupdateinterval", ["rescan"]],
  ["configlist", ["resources"]],
  ["resourcelist", ["resources"]],
]);

function advice(found: unknown, phrase: string, candidates: readonly string[]): string | null {
  if (typeof found !== "string") return null;
  const boolean = phrase === "true or false" ? SPELT[found.toLowerCase()] : undefined;
  if (boolean !== undefined) return `did you mean ${boolean}?`;
  // lspci omits the domain where there is only one.
  if (/^[0-9a-f]{2}:[0-9a-f]{2}\.[0-7]$/i.test(found)) return `did you mean "0000:${found.toLowerCase()}"?`;
  const list = found.split(",").map((one) => one.trim());
  if (list.length > 1 && list.every((one) => one !== "")) {
    return `one value an entry: [${list.map(quote).join(", ")}]`;
  }
  if (found.includes("/") && phrase.startsWith("a name of")) {
    return `the part before "/" belongs in resourcePrefix`;
  }
  const other = LINK_WORDS.find(([pattern]) => pattern.test(found));
  const meant = other === undefined ? undefined : candidates.find((one) => other[1].test(one));
  return meant === undefined ? hint(found, candidates) : `did you mean ${quote(meant)}?`;
}

/** Names that operators, CRDs and tools use for the two link layers. */
const LINK_WORDS: readonly [RegExp, RegExp][] = [
  [/^(ib|infiniband)$/i, /^infiniband$/i],
  [/^(eth|ether|ethernet|roce)$/i, /^ether(net)?$/i],
];

/** Spellings of true and false in other dialects and languages. */
const SPELT: Readonly<Record<string, boolean | undefined>> = {
  yes: true,
  on: true,
  y: true,
  true: true,
  no: false,
  off: false,
  n: false,
  false: false,
};

/** The values that the issue would have accepted. */
function words(issue: Issue): readonly string[] {
  if (issue.code === "invalid_value") return issue.values.filter((value) => typeof value === "string");
  if (issue.code === "invalid_union") return issue.errors.flatMap((issues) => issues.flatMap(words));
  return [];
}

/** Describes a value for a message. */
export function described(value: unknown): string {
  if (value === null || value === undefined) return "nothing";
  if (typeof value === "string") return quote(value);
  if (Array.isArray(value)) return value.length === 0 ? "an empty list" : "a list";
  if (typeof value === "object") return "a mapping";
  return typeof value === "number" ? `the number ${value}` : String(value);
}

function step(value: unknown, key: string | number): unknown {
  if (typeof value !== "object" || value === null || !Object.hasOwn(value, key)) return undefined;
  return (value as Record<string | number, unknown>)[key];
}
