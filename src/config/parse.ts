/**
 * Parses the text of a config file in any of the three formats.
 *
 * @module
 */
import type * as z from "zod";
import type { ResourceSpec } from "../pool/spec.ts";
import { duplicateNames, MOST_VFS, resourceProblems, specWarnings, vfBudget } from "./checks.ts";
import type { Finding } from "./checks.ts";
import { duplicateKeys, readDocument } from "./document.ts";
import type { Mapping, Source } from "./document.ts";
import { described, explain } from "./explain.ts";
import { fold, type Warn } from "./fold.ts";
import { inOrder } from "./mistakes.ts";
import type { Mistake, Path } from "./mistakes.ts";
import { asList, milliseconds, toSpec } from "./own.ts";
import { ConfigFile, Resource } from "./schema.ts";
import type { ResourceInput } from "./schema.ts";
import { readShared, SharedFile } from "./shared_device_plugin.ts";
import type { Reading } from "./shared_device_plugin.ts";
import { readSriov, SRIOV_PREFIX, SriovFile } from "./sriov.ts";
import { type Peer, whereItBelongs } from "./misplaced.ts";
import { plain, valueAt } from "./tree.ts";

/** The format of the file. */
export type Format = "own" | Peer;

/** The content of a config file. */
export interface Config {
  readonly format: Format;
  readonly resources: readonly ResourceSpec[];
  /** Seconds between periodic scans; 0 for never; null when the file does not set it. */
  readonly rescanSeconds: number | null;
  /** Settings that are valid but probably not intended. */
  readonly warnings: readonly Mistake[];
}

export interface ConfigOptions {
  /**
   * Domain of SR-IOV resources without a `resourcePrefix`: that plugin's `-resource-prefix` flag. Default intel.com.
   */
  readonly resourcePrefix?: string;
}

export type ConfigResult =
  | { readonly ok: true; readonly config: Config }
  | { readonly ok: false; readonly mistakes: readonly Mistake[] };

/**
 * Parses a config file. Never throws because of the text; reports all mistakes at once.
 *
 * @param file the file name in messages; for a .json file, text that is not valid JSON gets a warning
 */
export function parseConfig(text: string, file: string, options: ConfigOptions = {}): ConfigResult {
  // Offsets count from the first character that an editor shows.
  const body = text.startsWith("\uFEFF") ? text.slice(1) : text;
  const read = readDocument(body, file);
  if (!read.ok) return failed([...read.mistakes, ...notJson(body, file)]);
  const { source } = read;
  if (source.tree.kind !== "map") {
    const found = described(plain(source.tree));
    return failed([
      source.mistake(source.tree.at, [], "wrong-type", `found ${found}, expected a mapping with resources`),
    ]);
  }
  const result = readFormat(source, source.tree, options);
  if (!result.ok) return failed(result.mistakes);
  const warnings = inOrder([...notJson(body, file), ...result.warnings]);
  const { format, resources, rescanSeconds } = result;
  return {
    ok: true,
    config: { format, resources, rescanSeconds, warnings },
  };
}

type Read =
  | (Omit<Config, "warnings"> & { readonly ok: true; readonly warnings: readonly Mistake[] })
  | { readonly ok: false; readonly mistakes: readonly Mistake[] };

function failed(mistakes: readonly Mistake[]): ConfigResult {
  return { ok: false, mistakes: inOrder(mistakes) };
}

/** The top-level key identifies the format; the peers ignore its letter case. */
function readFormat(source: Source, top: Mapping, options: ConfigOptions): Read {
  const keys = new Set(top.entries.map((entry) => entry.key));
  const folded = new Set([...keys].map((key) => key.toLowerCase()));
  if (!keys.has("resources")) {
    if (folded.has("configlist")) return peer("shared-device-plugin", source, SharedFile, readShared);
    if (folded.has("resourcelist")) {
      const prefix = options.resourcePrefix || SRIOV_PREFIX;
      return peer("sriov-network-device-plugin", source, SriovFile, (input) => readSriov(input, prefix));
    }
    const flat = entryWithoutList(folded);
    if (flat !== null) {
      const message = "this is one entry without its list";
      return { ok: false, mistakes: [source.mistake(top.at, ["resourceName"], "not-a-config", message, flat)] };
    }
    if (keys.has("kind") && keys.has("apiVersion")) {
      const hint = "give the file that it contains (the text under data of a ConfigMap)";
      const mistake = source.mistake(top.at, [], "not-a-config", "this is a Kubernetes manifest", hint);
      return { ok: false, mistakes: [mistake] };
    }
  }
  return own(source);
}

/** For a file that is one entry of a peer's list: how to add the list; null for other files. */
function entryWithoutList(folded: ReadonlySet<string>): string | null {
  if (!folded.has("resourcename")) return null;
  const sriov = ["isrdma", "pfnames", "rootdevices", "devicetype"].some((key) => folded.has(key));
  const list = sriov ? `"resourceList"` : `"configList"`;
  const misplaced = ["vendors", "deviceids", "drivers", "ifnames", "linktypes", "isrdma", "pfnames", "rootdevices"]
    .filter((key) => folded.has(key));
  const selectors = misplaced.length === 0 ? "" : `, and its selectors into "selectors"`;
  return `put it into {${list}: [ … ]}${selectors}`;
}

/** In lists under these keys, unquoted digits are hex, whatever number YAML makes of them. */
const HEX_KEYS: ReadonlySet<string> = new Set(["vendors", "devices", "pkeys"]);

function own(source: Source): Read {
  const value = plain(source.tree, HEX_KEYS);
  const parsed = ConfigFile.safeParse(value);
  const mistakes = [...duplicateKeys(source)];
  if (!parsed.success) mistakes.push(...explain(parsed.error.issues, value, source.tree, source));
  // Resources are checked one by one, so that a wrong key in the first does not hide a contradiction in the second.
  const raw = listAt(value, "resources");
  const inputs = parsed.success ? parsed.data.resources : raw.map((one) => Resource.safeParse(one).data ?? null);
  const at = ({ path: below, code, message, hint }: Finding, ...above: Path): Mistake => {
    const path = [...above, ...below];
    return source.mistake(valueAt(source.tree, path), path, code, message, hint);
  };
  inputs.forEach((input, i) => {
    if (input !== null) mistakes.push(...resourceProblems(input).map((finding) => at(finding, "resources", i)));
  });
  const line = (i: number) => source.lineAt(valueAt(source.tree, ["resources", i, "name"]));
  for (const finding of duplicateNames(raw.map(nameOf), line)) {
    mistakes.push(at({ ...finding, path: [...finding.path, "name"] }, "resources"));
  }
  const bad = overBudget(inputs);
  if (bad !== null) {
    const message = `the VF ranges up to here expand to more than ${MOST_VFS.toLocaleString("en")} VFs`;
    mistakes.push(at({ path: [], code: "too-large", message }, "resources", bad));
  }
  if (!parsed.success || mistakes.length > 0) return { ok: false, mistakes };
  const resources = parsed.data.resources.map(toSpec);
  const warnings = resources.flatMap((spec, i) => specWarnings(spec).map((finding) => at(finding, "resources", i)));
  const { rescan } = parsed.data;
  return {
    ok: true,
    format: "own",
    resources,
    rescanSeconds: rescan === undefined ? null : milliseconds(rescan) / 1_000,
    warnings,
  };
}

/** Index of the first resource whose VF ranges exceed the budget; null when all fit. */
function overBudget(inputs: readonly (ResourceInput | null)[]): number | null {
  const within = vfBudget();
  const bad = inputs.findIndex((input) =>
    ![...asList(input?.select), ...asList(input?.exclude)].every((selector) => within(selector.pfs))
  );
  return bad < 0 ? null : bad;
}

function peer<Schema extends z.ZodType>(
  format: Peer,
  source: Source,
  schema: Schema,
  read: (input: z.infer<Schema>) => Reading,
): Read {
  const warnings: Mistake[] = [];
  const warn: Warn = (...args) => void warnings.push(source.mistake(...args));
  const tree = fold(source.tree, schema, warn, (path) => whereItBelongs(format, path, schema));
  const value = plain(tree);
  const parsed = schema.safeParse(value);
  // Ignored keys are reported as well: often they are what the mistake is about.
  if (!parsed.success) {
    return { ok: false, mistakes: [...explain(parsed.error.issues, value, tree, source), ...warnings] };
  }
  const reading = read(parsed.data);
  const at = ({ path, code, message, hint }: Finding) => source.mistake(valueAt(tree, path), path, code, message, hint);
  const list = format === "shared-device-plugin" ? "configList" : "resourceList";
  const nameAt = (index: number): Path => [list, index, "resourceName"];
  const line = (i: number) => source.lineAt(valueAt(tree, nameAt(reading.resources[i]!.index)));
  const twice = duplicateNames(reading.resources.map(({ spec }) => spec.name), line).map((finding) => ({
    ...finding,
    path: nameAt(reading.resources[finding.path[0] as number]!.index),
  }));
  const mistakes = [...reading.problems, ...twice].map(at);
  if (mistakes.length > 0) return { ok: false, mistakes: [...mistakes, ...warnings] };
  const shares = reading.resources.flatMap(({ index, spec }) =>
    specWarnings(spec).map((finding) => at({ ...finding, path: [list, index] }))
  );
  return {
    ok: true,
    format,
    resources: reading.resources.map(({ spec }) => spec),
    rescanSeconds: reading.rescanSeconds,
    warnings: [...warnings, ...reading.warnings.map(at), ...shares],
  };
}

/** Checks a .json file for comments and trailing commas, which YAML accepts but other readers of the file do not. */
function notJson(text: string, file: string): readonly Mistake[] {
  if (!file.toLowerCase().endsWith(".json")) return [];
  try {
    JSON.parse(text);
    return [];
  } catch {
    // The position is not reported, because JavaScript engines differ in whether and how they report it.
    const message = "the file is named .json but is not valid JSON (a comment or trailing comma?)";
    return [{ file, line: 1, column: 1, path: "", code: "not-json", message, hint: "other programs cannot read it" }];
  }
}

function listAt(value: unknown, key: string): readonly unknown[] {
  const list = typeof value === "object" && value !== null ? (value as Record<string, unknown>)[key] : undefined;
  return Array.isArray(list) ? list : [];
}

function nameOf(resource: unknown): string | null {
  const name = typeof resource === "object" && resource !== null
    ? (resource as Record<string, unknown>).name
    : undefined;
  return typeof name === "string" ? name : null;
}
