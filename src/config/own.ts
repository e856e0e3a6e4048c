/**
 * Converts the plugin's own format, after schema validation, to resource specs.
 *
 * @module
 */
import type { EnvPolicy, ExtraDevice, ExtraMount, HealthPolicy, Mode, ResourceSpec, Selector } from "../pool/spec.ts";
import { toErrorRules } from "./error_rules.ts";
import { parseDuration } from "../text/duration.ts";
import type { ResourceInput, SelectorInput } from "./schema.ts";
import { toPfRange } from "./vf_ranges.ts";

/** Converts one resource; the input must have passed the schema and `resourceProblems`. */
export function toSpec(input: ResourceInput): ResourceSpec {
  const { name, api, cdi, prefer, topology, overlap, dra } = input;
  return {
    name,
    api,
    dra,
    mode: toMode(input),
    // A device of a ResourceSlice is a PCI function: its address is the one name that survives a rename.
    ids: api === "dra" ? "pci" : input.ids,
    select: asList(input.select).map(toSelector),
    exclude: asList(input.exclude).map(toSelector),
    health: toHealth(input.health),
    expose: {
      ...input.expose,
      devices: (input.expose.devices ?? []).map(toDevice),
      mounts: (input.expose.mounts ?? []).map(toMount),
    },
    env: toEnv(input.env),
    cdi,
    prefer,
    topology,
    overlap,
  };
}

/** Converts nothing, one value or several to a list. */
export function asList<T>(value: T | readonly T[] | undefined): readonly T[] {
  if (value === undefined) return [];
  // Array.isArray does not narrow readonly arrays.
  return Array.isArray(value) ? value as readonly T[] : [value as T];
}

function toMode({ mode, shares, share }: ResourceInput): Mode {
  if (mode === "exclusive" || shares === undefined || share === undefined) return { kind: "exclusive" };
  return { kind: "shared", shares, of: share };
}

export function toSelector(input: SelectorInput): Selector {
  const { minRate, vendors, devices, pciAddresses, pfs, pkeys, ...same } = input;
  return without<Selector>({
    ...same,
    vendors: vendors?.map(hexId),
    devices: devices?.map(hexId),
    pciAddresses: pciAddresses?.map((address) => address.toLowerCase()),
    pfs: pfs?.map(toPfRange),
    minRateGbps: minRate,
    pkeys: pkeys?.map((key) => `0x${hexId(key)}`),
  });
}

/** "0x15B3" → "15b3": as in sysfs, without 0x. */
export function hexId(text: string): string {
  return text.replace(/^0x/i, "").toLowerCase().padStart(4, "0");
}

/** Removes the keys whose value is undefined. */
export function without<T extends object>(value: { [K in keyof T]: T[K] | undefined }): T {
  return Object.fromEntries(Object.entries(value).filter(([, one]) => one !== undefined)) as T;
}

function toHealth({ policy, ports, require, settle, grace, errors }: ResourceInput["health"]): HealthPolicy {
  const times = {
    settleMs: milliseconds(settle),
    graceMs: milliseconds(grace),
    errors: toErrorRules(errors ?? {}),
  };
  if (typeof ports === "string") return { policy, ports: null, require: ports, ...times };
  return { policy, ports: [...new Set(ports)].sort((a, b) => a - b), require: require ?? "any", ...times };
}

/** The schema has rejected whatever `parseDuration` cannot read. */
export function milliseconds(value: string | number): number {
  const ms = parseDuration(value);
  if (ms === null) throw new TypeError(`Cannot read the duration ${JSON.stringify(value)}: the schema accepts it`);
  return ms;
}

type Item<List> = NonNullable<List> extends readonly (infer T)[] ? T : never;

function toDevice(input: Item<ResourceInput["expose"]["devices"]>): ExtraDevice {
  if (typeof input === "string") return { hostPath: input, containerPath: input, permissions: "rw", optional: false };
  return { ...input, containerPath: input.containerPath ?? input.hostPath };
}

function toMount(input: Item<ResourceInput["expose"]["mounts"]>): ExtraMount {
  if (typeof input === "string") return { hostPath: input, containerPath: input, readOnly: true };
  return { ...input, containerPath: input.containerPath ?? input.hostPath };
}

function toEnv({ pcideviceInfo, extra, ...flags }: ResourceInput["env"]): EnvPolicy {
  const info = Object.entries(pcideviceInfo ?? {}).map(([address, keys]) => [address.toLowerCase(), keys] as const);
  return { ...flags, pcideviceInfo: Object.fromEntries(info), extra: extra ?? {} };
}
