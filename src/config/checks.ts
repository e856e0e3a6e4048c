/**
 * Checks across keys: keys of one resource, or several resources, that contradict each other.
 *
 * @module
 */
import { isDeepStrictEqual } from "node:util";
import { DEFAULT_SPEC, type ResourceSpec } from "../pool/spec.ts";
import { errorRuleProblems, errorRuleWarnings } from "./error_rules.ts";
import type { MistakeCode } from "./mistake_codes.ts";
import type { Path } from "./mistakes.ts";
import { asList, toSelector } from "./own.ts";
import type { ResourceInput } from "./schema.ts";
import { readPf } from "./vf_ranges.ts";

/** A finding about the value at the path. */
export interface Finding {
  readonly path: Path;
  readonly code: MistakeCode;
  readonly message: string;
  readonly hint?: string | null;
}

/** Maximum number of devices that fit into a ListAndWatch message of 4 MiB, the kubelet's receive limit. */
const MOST_DEVICES = 40_000;
/** With `share: one`, devices are multiplied by the number of HCAs; a large node has eight. */
const MANY_HCAS = 8;
/** Maximum number of VFs that all ranges of one file may expand to. */
export const MOST_VFS = 1_000_000;

/** Contradictions within one resource. */
export function resourceProblems(input: ResourceInput): readonly Finding[] {
  return [
    ...modeProblems(input),
    ...selectionProblems(input),
    ...healthProblems(input),
    ...errorRuleProblems(input.health.errors ?? {}),
    ...exposeProblems(input),
    ...apiProblems(input),
  ];
}

function modeProblems({ mode, shares, share, prefer, overlap }: ResourceInput): Finding[] {
  const found: Finding[] = [];
  const say = (key: string, message: string) => found.push({ path: [key], code: "conflict", message });
  if (mode === "shared") {
    const need = (message: string) => found.push({ path: ["mode"], code: "missing", message });
    if (shares === undefined) need(`"shared" needs shares too: the number of devices`);
    if (share === undefined) {
      need(`"shared" needs share too: "all" (each device hands over every HCA) or "one" (each belongs to one HCA)`);
    }
  } else {
    if (shares !== undefined) say("shares", `shares requires mode: shared, but the mode is exclusive`);
    if (share !== undefined) say("share", `share requires mode: shared, but the mode is exclusive`);
    if (overlap) {
      say("overlap", "an HCA of an exclusive resource cannot be in another one too; overlap is for mode: shared");
    }
  }
  if (prefer === "least-used" && (mode !== "shared" || share === "all")) {
    say("prefer", `"least-used" is for mode: shared with share: one, expected pack or spread here`);
  }
  return found;
}

function apiProblems({ api, dra, mode, share, overlap, cdi, prefer }: ResourceInput): Finding[] {
  const found: Finding[] = [];
  const say = (...path: string[]) => (message: string) => found.push({ path, code: "conflict", message });
  if (api === "device-plugin") {
    if (!isDeepStrictEqual(dra, DEFAULT_SPEC.dra)) {
      say("dra")("these settings are for api: dra, and the api is device-plugin");
    }
    return found;
  }
  if (share === "all") {
    say("share")(`"all" has no meaning with api: dra; a claim asks for all devices with allocationMode: All`);
  }
  if (dra.pfExcludesVfs && mode === "shared") {
    say("dra", "pfExcludesVfs")("goes with mode: exclusive; shared functions exclude no one");
  }
  if (overlap) say("overlap")("an HCA that is offered through DRA cannot be in another resource, too");
  if (cdi) say("cdi")("api: dra always answers with CDI names, from a file of each claim; leave cdi out");
  if (prefer !== DEFAULT_SPEC.prefer) say("prefer")("with api: dra the scheduler chooses, by the claim's constraints");
  return found;
}

function selectionProblems(input: ResourceInput): Finding[] {
  const exclude = asList(input.exclude);
  const select = asList(input.select).map(toSelector);
  const path = (i: number): Path => Array.isArray(input.exclude) ? ["exclude", i] : ["exclude"];
  const found = exclude.flatMap((selector, i): Finding[] =>
    Object.keys(selector).length > 0 ? [] : [{
      path: path(i),
      code: "nothing-left",
      message: "a selector without conditions matches every HCA, so this excludes all",
    }]
  );
  const refused = exclude.map(toSelector);
  const same = refused.findIndex((one) => select.length > 0 && isDeepStrictEqual(select[0], one));
  if (same >= 0 && select.every((one) => refused.some((other) => isDeepStrictEqual(one, other)))) {
    const message = "excludes exactly what select matches: no HCA can remain";
    found.push({ path: path(same), code: "nothing-left", message });
  }
  return found;
}

function healthProblems({ health }: ResourceInput): Finding[] {
  if (health.require === undefined || Array.isArray(health.ports)) return [];
  const hint = `for all ports of an HCA write ports: ${health.require}`;
  return [{ path: ["health", "require"], code: "conflict", message: "require applies to a list of ports", hint }];
}

function exposeProblems({ expose }: ResourceInput): Finding[] {
  const seen = new Set<string>();
  return (["devices", "mounts"] as const).flatMap((key) =>
    (expose[key] ?? []).flatMap((item, i): Finding[] => {
      const target = typeof item === "string" ? item : item.containerPath ?? item.hostPath;
      if (!seen.has(target)) {
        seen.add(target);
        return [];
      }
      const message = `${target} is given twice for the container`;
      return [{ path: ["expose", key, i], code: "duplicate-path", message }];
    })
  );
}

/** A name that the kubelet would reject; `problem` is the one of `nameProblem`. */
export function invalidName(path: Path, name: string, problem: string): Finding {
  return { path, code: "invalid-name", message: `the name ${JSON.stringify(name.slice(0, 80))} ${problem}` };
}

/** One finding for each name that an earlier resource uses; `null` is a resource without a valid name. */
export function duplicateNames(
  names: readonly (string | null)[],
  lineOf: (index: number) => number,
): readonly Finding[] {
  const first = new Map<string, number>();
  return names.flatMap((name, i): Finding[] => {
    if (name === null) return [];
    const before = first.get(name);
    if (before === undefined) {
      first.set(name, i);
      return [];
    }
    return [{
      path: [i],
      code: "duplicate-name",
      message: `the name ${JSON.stringify(name.slice(0, 80))} is already used in line ${lineOf(before)}`,
    }];
  });
}

/** Counts the VFs that ranges expand to; returns true while the total of the file is within bounds. */
export function vfBudget(): (pfs: readonly string[] | undefined) => boolean {
  let left = MOST_VFS;
  return (pfs) => {
    for (const pf of pfs ?? []) {
      const read = readPf(pf);
      if (read.ok) left -= read.count;
    }
    return left >= 0;
  };
}

/** Settings that are valid but probably not intended. */
export function specWarnings(spec: ResourceSpec): readonly Finding[] {
  const { mode, health } = spec;
  const found: Finding[] = [];
  if (mode.kind === "shared") {
    const devices = mode.of === "all" ? mode.shares : mode.shares * MANY_HCAS;
    if (devices > MOST_DEVICES) {
      const count = mode.of === "all" ? "" : `on ${MANY_HCAS} HCAs these are ${devices.toLocaleString("en")} devices; `;
      const message = `${count}the kubelet refuses lists longer than 4 MiB, about ${
        MOST_DEVICES.toLocaleString("en")
      } devices`;
      found.push({ path: ["shares"], code: "too-large", message });
    }
  }
  if (
    health.policy === "present" && health.errors.length === 0 && (health.ports !== null || health.require === "all")
  ) {
    const message = "has no effect with policy: present, which checks no port";
    found.push({ path: ["health", "ports"], code: "no-effect", message });
  }
  return [...found, ...errorRuleWarnings(health.errors)];
}
