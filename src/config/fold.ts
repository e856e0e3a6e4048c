/**
 * Reads a document as Go's `encoding/json` decodes it into a struct: keys are case-insensitive, unknown keys are
 * ignored, null counts as absent, and the last of duplicate keys wins. Users of the peers rely on all four. Whatever is
 * ignored is reported as a warning.
 *
 * @module
 */
import * as z from "zod";
import { mapping } from "./document.ts";
import type { Entry, Tree } from "./document.ts";
import type { MistakeCode } from "./mistake_codes.ts";
import type { Path } from "./mistakes.ts";
import { quote } from "../text/printable.ts";
import { hint } from "../text/nearest.ts";

/** Called for what the peer would ignore without a message. */
export type Warn = (at: number, path: Path, code: MistakeCode, message: string, hint?: string) => void;

/** Where an unknown key belongs, as the end of a sentence; null when it is not known. */
export type Belongs = (path: Path) => string | null;

/** The tree with keys in the schema's spelling and nothing else. Positions are kept. */
export function fold(tree: Tree, schema: z.ZodType, warn: Warn, belongs: Belongs, path: Path = []): Tree {
  const inner = unwrapped(schema, tree.kind);
  if (inner instanceof z.ZodArray && tree.kind === "list") {
    const item = inner.element as z.ZodType;
    return { ...tree, items: tree.items.map((one, i) => fold(one, item, warn, belongs, [...path, i])) };
  }
  if (tree.kind !== "map" || !(inner instanceof z.ZodObject || inner instanceof z.ZodRecord)) return tree;
  const shape = inner instanceof z.ZodObject ? inner.shape as Record<string, z.ZodType> : null;
  const known = new Map(Object.keys(shape ?? {}).map((key) => [key.toLowerCase(), key]));
  const entries = new Map<string, Entry>();
  for (const entry of tree.entries) {
    const here = [...path, entry.key];
    const key = shape === null ? entry.key : known.get(entry.key.toLowerCase());
    if (key === undefined) {
      const keys = Object.keys(shape ?? {});
      const instead = belongs(here) ?? hint(entry.key, keys) ?? `known here: ${keys.join(", ")}`;
      warn(entry.keyAt, here, "unknown-key", "unknown key, ignored", instead);
      continue;
    }
    if (entries.has(key)) {
      warn(entry.keyAt, here, "duplicate-key", `the key ${quote(key)} is given twice`, "the last one is used");
    }
    if (entry.value.kind === "scalar" && entry.value.value === null) continue;
    entries.set(key, {
      ...entry,
      key,
      value: shape === null ? entry.value : fold(entry.value, shape[key]!, warn, belongs, here),
    });
  }
  return mapping(tree.at, [...entries.values()]);
}

/** Unwraps optional and default; of a union, returns the alternative for this kind of value. */
function unwrapped(schema: z.ZodType, kind: Tree["kind"]): z.ZodType {
  if (schema instanceof z.ZodOptional || schema instanceof z.ZodDefault) {
    return unwrapped(schema.unwrap() as z.ZodType, kind);
  }
  if (schema instanceof z.ZodUnion) {
    const options = schema.options as readonly z.ZodType[];
    return options.find((one) => kind === "list" ? one instanceof z.ZodArray : one instanceof z.ZodObject) ?? schema;
  }
  return schema;
}
