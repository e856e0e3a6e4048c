/**
 * Parses text into a tree of values with positions. The `yaml` package reads YAML and JSON (JSON is YAML); its nodes
 * are converted to a plain tree, bounded in size and depth, with this plugin's own error messages.
 *
 * @module
 */
import { isAlias, isMap, isNode, isScalar, isSeq, LineCounter, parseDocument } from "yaml";
import type { YAMLError } from "yaml";
import type { MistakeCode } from "./mistake_codes.ts";
import type { Mistake, Path } from "./mistakes.ts";
import { pathText } from "./mistakes.ts";
import { quote } from "../text/printable.ts";

/** A value and the offset of its first character. */
export type Tree =
  | { readonly kind: "scalar"; readonly at: number; readonly value: unknown; readonly source: string | null }
  | { readonly kind: "list"; readonly at: number; readonly items: readonly Tree[] }
  | Mapping;

export interface Mapping {
  readonly kind: "map";
  readonly at: number;
  /** In file order, including duplicate keys. */
  readonly entries: readonly Entry[];
  /** For duplicate keys, the last one. */
  readonly byKey: ReadonlyMap<string, Entry>;
}

export interface Entry {
  readonly key: string;
  readonly keyAt: number;
  readonly value: Tree;
}

/** Creates a mapping at this offset. */
export function mapping(at: number, entries: readonly Entry[]): Mapping {
  return { kind: "map", at, entries, byKey: new Map(entries.map((entry) => [entry.key, entry])) };
}

/** A well-formed file, regardless of its meaning. */
export interface Source {
  readonly tree: Tree;
  /** Creates a mistake about the value at this offset. */
  mistake(at: number, path: Path, code: MistakeCode, message: string, hint?: string | null): Mistake;
  /** The line of this offset, from 1. */
  lineAt(at: number): number;
}

/** Maximum file size: a ConfigMap cannot hold more. */
export const LARGEST = 1_048_576;
const DEEPEST = 32;
/** Maximum number of values that aliases may add in total; enough for any real file, but not for an alias bomb. */
const FROM_ALIASES = 10_000;
const SYNTAX_SHOWN = 10;

/** Parses the text of one file. */
export function readDocument(
  text: string,
  file: string,
): { ok: true; source: Source } | { ok: false; mistakes: readonly Mistake[] } {
  const lines = new LineCounter();
  const mistakes: Mistake[] = [];
  const placeOf = (at: number) => {
    const { line, col } = lines.linePos(Math.max(0, Math.min(at, text.length)));
    return { line: Math.max(1, line), column: Math.max(1, col) };
  };
  const mistake: Source["mistake"] = (at, path, code, message, hint = null) => ({
    file,
    ...placeOf(at),
    path: pathText(path),
    code,
    message,
    hint,
  });
  const failed = () => ({ ok: false as const, mistakes });
  if (text.length > LARGEST) {
    const message = `the file has more than ${LARGEST} characters`;
    mistakes.push({ file, line: 0, column: 0, path: "", code: "too-large", message, hint: null });
    return failed();
  }
  // The parser recurses per level. Brackets in strings are counted as well, which only makes this stricter.
  const deep = tooDeep(text);
  if (deep !== null) {
    lines.addNewLine(0);
    for (let at = text.indexOf("\n"); at >= 0; at = text.indexOf("\n", at + 1)) lines.addNewLine(at + 1);
    mistakes.push(mistake(deep, [], "too-large", `brackets are nested deeper than ${10 * DEEPEST} levels`));
    return failed();
  }
  let document;
  try {
    // uniqueKeys compares each key with all others; duplicates are detected below, in linear time.
    document = parseDocument(text, { lineCounter: lines, prettyErrors: false, uniqueKeys: false, schema: "core" });
  } catch (error) {
    if (!(error instanceof RangeError)) throw error;
    mistakes.push(mistake(0, [], "too-large", "the file is nested too deeply"));
    return failed();
  }
  for (const error of [...document.errors, ...document.warnings].slice(0, SYNTAX_SHOWN)) {
    mistakes.push(mistake(error.pos[0], [], ...syntaxProblem(error)));
  }
  if (mistakes.length > 0) return failed();
  if (document.contents === null || (isScalar(document.contents) && document.contents.value === null)) {
    mistakes.push(mistake(0, [], "empty", "the file is empty", "it needs at least a list of resources"));
    return failed();
  }
  const tree = grow(document.contents, (...args) => {
    mistakes.push(mistake(...args));
  });
  const lineAt = (at: number) => placeOf(at).line;
  return mistakes.length > 0 ? failed() : { ok: true, source: { tree, mistake, lineAt } };
}

type Complain = (...args: Parameters<Source["mistake"]>) => void;

/** Converts the package's nodes to a tree. Aliases are resolved within bounds. */
function grow(root: unknown, complain: Complain): Tree {
  const anchors = new Map<string, unknown>();
  const open = new Set<unknown>();
  let fromAliases = 0;
  let tired = false;

  function value(node: unknown, path: Path, parentAt: number, inAlias: boolean): Tree {
    const at = isNode(node) ? node.range?.[0] ?? parentAt : parentAt;
    const nothing: Tree = { kind: "scalar", at, value: null, source: null };
    if (tired) return nothing;
    if (path.length > DEEPEST) return stop(at, path, `nested deeper than ${DEEPEST} levels`, nothing);
    if (inAlias && ++fromAliases > FROM_ALIASES) {
      return stop(at, path, `aliases (*name) stand for more than ${FROM_ALIASES} values`, nothing);
    }
    if (isAlias(node)) {
      const target = anchors.get(node.source);
      if (target === undefined) {
        complain(
          at,
          path,
          "not-well-formed",
          `*${node.source} is an alias, and nothing is anchored as &${node.source}`,
          "put text that begins with * in quotes",
        );
        return nothing;
      }
      if (open.has(target)) {
        complain(at, path, "not-well-formed", `the alias *${node.source} refers to a value that contains it`);
        return nothing;
      }
      return value(target, path, at, true);
    }
    if (isNode(node) && "anchor" in node && node.anchor !== undefined && !inAlias) anchors.set(node.anchor, node);
    open.add(node);
    const tree = branch(node, path, at, inAlias) ?? nothing;
    open.delete(node);
    return tree;
  }

  function branch(node: unknown, path: Path, at: number, inAlias: boolean): Tree | null {
    if (isScalar(node)) return { kind: "scalar", at, value: node.value, source: node.source ?? null };
    if (isSeq(node)) {
      return { kind: "list", at, items: node.items.map((item, i) => value(item, [...path, i], at, inAlias)) };
    }
    if (!isMap(node)) return null;
    const entries: Entry[] = [];
    for (const pair of node.items) {
      const keyAt = isNode(pair.key) ? pair.key.range?.[0] ?? at : at;
      const key = keyText(pair.key);
      if (key === null) {
        complain(keyAt, path, "wrong-type", "expected a name as key");
      } else if (key === "<<") {
        complain(
          keyAt,
          [...path, key],
          "unsupported",
          "merge keys are not supported",
          "write the keys out, or use an alias for a whole value",
        );
      } else if (key === "__proto__") {
        complain(keyAt, [...path, key], "unknown-key", "this name is not allowed as a key");
      } else entries.push({ key, keyAt, value: value(pair.value, [...path, key], keyAt, inAlias) });
    }
    return mapping(at, entries);
  }

  function stop(at: number, path: Path, message: string, nothing: Tree): Tree {
    tired = true;
    complain(at, path.slice(0, 4), "too-large", message);
    return nothing;
  }

  return value(root, [], 0, false);
}

function keyText(key: unknown): string | null {
  if (!isScalar(key) || key.value === null) return null;
  return typeof key.value === "string" ? key.value : key.source ?? String(key.value);
}

/** Offset of the first bracket that is nested too deeply, or null. */
function tooDeep(text: string): number | null {
  let depth = 0;
  for (let at = 0; at < text.length; at++) {
    const c = text[at];
    if (c === "[" || c === "{") depth++;
    else if (c === "]" || c === "}") depth--;
    if (depth > 10 * DEEPEST) return at;
  }
  return null;
}

/** Code, sentence and hint. */
function syntaxProblem({ code, message }: YAMLError): [MistakeCode, string, string?] {
  // The package recurses and reports its own stack overflow in these words.
  if (/call stack|stack overflow/i.test(message)) return ["too-large", "nested too deeply"];
  switch (code) {
    case "TAB_AS_INDENT":
      return ["not-well-formed", "a tab is used for indentation", "YAML allows only spaces there"];
    case "MULTIPLE_DOCS":
      return ["unsupported", "a second document begins here (---)", "a config file holds one"];
    case "BAD_ALIAS":
      return ["not-well-formed", "* begins an alias", "put text that begins with * in quotes"];
    case "TAG_RESOLVE_FAILED":
    case "BAD_COLLECTION_TYPE":
      return ["unsupported", "YAML tags (!name) are not supported"];
    default:
      return ["not-well-formed", `not well-formed: ${message.slice(0, 1).toLowerCase()}${message.slice(1)}`];
  }
}

/** One mistake for each duplicate key of a mapping. */
export function duplicateKeys(source: Source): readonly Mistake[] {
  const found: Mistake[] = [];
  const walk = (tree: Tree, path: Path): void => {
    if (tree.kind === "list") tree.items.forEach((item, i) => walk(item, [...path, i]));
    if (tree.kind !== "map") return;
    const first = new Map<string, number>();
    for (const { key, keyAt, value } of tree.entries) {
      const before = first.get(key);
      if (before === undefined) first.set(key, keyAt);
      else {
        const message = `the key ${quote(key)} is given twice, first in line ${source.lineAt(before)}`;
        found.push(source.mistake(keyAt, [...path, key], "duplicate-key", message));
      }
      walk(value, [...path, key]);
    }
  };
  walk(source.tree, []);
  return found;
}
