/**
 * Access to a document tree: its plain value, and the position of a path.
 *
 * @module
 */
import type { Tree } from "./document.ts";
import type { Path } from "./mistakes.ts";

/**
 * The value without positions. The last of duplicate keys wins.
 *
 * YAML reads an unquoted 1017 or 0x15b3 as a number (and 15e3 as 15000). In lists under the keys `asText`, such numbers
 * are returned as they were written.
 */
export function plain(tree: Tree, asText: ReadonlySet<string> = new Set(), key = ""): unknown {
  switch (tree.kind) {
    case "scalar":
      return tree.value;
    case "list":
      return tree.items.map((item) =>
        asText.has(key) && item.kind === "scalar" && typeof item.value === "number"
          ? item.source ?? String(item.value)
          : plain(item, asText, key)
      );
    case "map":
      return Object.fromEntries(tree.entries.map((entry) => [entry.key, plain(entry.value, asText, entry.key)]));
  }
}

/** Offset of the value at the path, or of the nearest existing parent. */
export function valueAt(tree: Tree, path: Path): number {
  const [step, ...rest] = path;
  const next = step === undefined ? undefined : child(tree, step);
  return next === undefined ? tree.at : valueAt(next, rest);
}

/** Offset of the last key of the path, or of the value above it when there is no such key. */
export function keyAt(tree: Tree, path: Path): number {
  const parent = path.slice(0, -1).reduce<Tree | undefined>((at, step) => at && child(at, step), tree);
  const last = path.at(-1);
  if (parent?.kind !== "map") return valueAt(tree, path);
  return parent.byKey.get(String(last))?.keyAt ?? parent.at;
}

function child(tree: Tree, step: string | number): Tree | undefined {
  if (tree.kind === "list" && typeof step === "number") return tree.items[step];
  if (tree.kind === "map") return tree.byKey.get(String(step))?.value;
  return undefined;
}
