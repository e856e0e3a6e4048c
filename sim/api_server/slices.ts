/**
 * Validation and defaulting of ResourceSlices as in the API server: rejects slices that exceed the limits, silently
 * drops fields whose feature gate is off, and sets defaults. Limits: resource.k8s.io/v1 types.go.
 *
 * @module
 */
import type {
  AttributeValue,
  Capacity,
  CounterSet,
  ResourceSlice,
  SliceDevice,
} from "../../src/kubernetes/resource_api.ts";

/** Feature gates of the fields of a slice; all are on by default since 1.36. */
export interface Gates {
  readonly DRADeviceTaints: boolean;
  readonly DRAConsumableCapacity: boolean;
  readonly DRAPartitionableDevices: boolean;
}

export const ALL_GATES: Gates = { DRADeviceTaints: true, DRAConsumableCapacity: true, DRAPartitionableDevices: true };

const LABEL = /^[a-z0-9]([-a-z0-9]{0,61}[a-z0-9])?$/;
const SUBDOMAIN = /^[a-z0-9]([-a-z0-9.]{0,251}[a-z0-9])?$/;
const C_IDENTIFIER = /^[A-Za-z_][A-Za-z0-9_]{0,31}$/;
const SEMVER = /^\d+\.\d+\.\d+(-[0-9A-Za-z.-]+)?(\+[0-9A-Za-z.-]+)?$/;
const QUANTITY = /^\d+(\.\d+)?([numkKMGTPE]i?|[eE]\d+)?$/;
const LABEL_VALUE = /^([A-Za-z0-9]([-A-Za-z0-9_.]{0,61}[A-Za-z0-9])?)?$/;

/** All validation errors of a slice. */
export function sliceMistakes(slice: ResourceSlice, before: ResourceSlice | null): string[] {
  const wrong: string[] = [];
  const { spec } = slice;
  const devices = spec.devices ?? [];
  const counters = spec.sharedCounters ?? [];
  const rich = devices.some((one) => (one.taints ?? []).length > 0 || (one.consumesCounters ?? []).length > 0);
  const most = rich ? 64 : 128;
  if (devices.length > most) wrong.push(`spec.devices: Too many: ${devices.length}: must have at most ${most} items`);
  if (devices.length > 0 && counters.length > 0) {
    wrong.push("spec: Invalid value: exactly one of `sharedCounters`, `devices` is required");
  }
  if (spec.driver.length > 63 || !SUBDOMAIN.test(spec.driver)) {
    wrong.push(`spec.driver: Invalid value: "${spec.driver}"`);
  }
  if (!spec.pool.name.split("/").every((part) => SUBDOMAIN.test(part))) wrong.push("spec.pool.name: Invalid value");
  if (!(spec.pool.resourceSliceCount > 0)) wrong.push("spec.pool.resourceSliceCount: must be greater than zero");
  if (before !== null) {
    if (before.spec.driver !== spec.driver) wrong.push("spec.driver: field is immutable");
    if (before.spec.pool.name !== spec.pool.name) wrong.push("spec.pool.name: field is immutable");
    if (before.spec.nodeName !== spec.nodeName) wrong.push("spec.nodeName: field is immutable");
  }
  const names = new Set<string>();
  devices.forEach((device, i) => {
    if (names.has(device.name)) wrong.push(`spec.devices[${i}].name: Duplicate value: "${device.name}"`);
    names.add(device.name);
    wrong.push(...deviceMistakes(device).map((words) => `spec.devices[${i}].${words}`));
  });
  if (counters.length > 8) wrong.push("spec.sharedCounters: Too many: must have at most 8 items");
  for (const one of counters) {
    if (!LABEL.test(one.name)) wrong.push(`spec.sharedCounters: Invalid value: "${one.name}"`);
  }
  return wrong;
}

function deviceMistakes(device: SliceDevice): string[] {
  const wrong: string[] = [];
  if (!LABEL.test(device.name)) wrong.push(`name: Invalid value: "${device.name}": a lowercase RFC 1123 label`);
  const attributes = Object.entries(device.attributes ?? {});
  const capacity = Object.entries(device.capacity ?? {});
  if (attributes.length + capacity.length > 32) {
    wrong.push(`attributes: Too many: the total number of attributes and capacities must not exceed 32`);
  }
  for (const [name, value] of attributes) wrong.push(...qualified(name), ...valueMistakes(name, value));
  for (const [name, { value, requestPolicy }] of capacity) {
    wrong.push(...qualified(name));
    if (!QUANTITY.test(value)) wrong.push(`capacity[${name}]: not a quantity: "${value}"`);
    if (requestPolicy !== undefined && !device.allowMultipleAllocations) {
      wrong.push(`capacity[${name}].requestPolicy: Forbidden: only with allowMultipleAllocations`);
    }
  }
  for (const taint of device.taints ?? []) {
    const [domain = "", name] = taint.key.split("/");
    if (name === undefined || !SUBDOMAIN.test(domain)) wrong.push(`taints: Invalid value: "${taint.key}"`);
    if (!LABEL_VALUE.test(taint.value ?? "")) wrong.push(`taints: Invalid value: "${taint.value}"`);
    if (!["None", "NoSchedule", "NoExecute"].includes(taint.effect)) wrong.push("taints.effect: Unsupported value");
  }
  if ((device.taints ?? []).length > 16) wrong.push("taints: Too many: must have at most 16 items");
  if ((device.consumesCounters ?? []).length > 2) wrong.push("consumesCounters: Too many: must have at most 2 items");
  return wrong;
}

function qualified(name: string): string[] {
  const parts = name.split("/");
  const id = parts.at(-1)!;
  const wrong = [];
  if (!C_IDENTIFIER.test(id)) wrong.push(`attributes: Invalid value: "${name}": a C identifier of up to 32 characters`);
  if (parts.length > 2 || (parts.length === 2 && (parts[0]!.length > 63 || !SUBDOMAIN.test(parts[0]!)))) {
    wrong.push(`attributes: Invalid value: "${name}": its domain`);
  }
  return wrong;
}

function valueMistakes(name: string, value: AttributeValue): string[] {
  const keys = Object.keys(value);
  if (keys.length !== 1) return [`attributes[${name}]: exactly one value must be specified`];
  if (value.string !== undefined && new TextEncoder().encode(value.string).length > 64) {
    return [`attributes[${name}].string: Too long: may not be more than 64 bytes`];
  }
  if (value.version !== undefined && (value.version.length > 64 || !SEMVER.test(value.version))) {
    return [`attributes[${name}].version: Invalid value: must be a string compatible with semver.org spec 2.0.0`];
  }
  if (value.int !== undefined && !Number.isInteger(value.int)) return [`attributes[${name}].int: Invalid value`];
  return [];
}

const SUFFIXES = ["", "k", "M", "G", "T", "P", "E"];

/** As the API server writes a decimal quantity: "1000" is "1k", "2000G" is "2T". */
export function canonical(quantity: string): string {
  const [, digits = "", suffix = ""] = /^([1-9]\d*)([kMGTPE]?)$/.exec(quantity) ?? [];
  if (digits === "") return quantity;
  let power = SUFFIXES.indexOf(suffix);
  let number = digits;
  for (; number.endsWith("000") && power < SUFFIXES.length - 1; power++) number = number.slice(0, -3);
  return `${number}${SUFFIXES[power]}`;
}

function storedCapacity({ value, requestPolicy }: Capacity, gates: Gates): Capacity {
  if (requestPolicy === undefined || !gates.DRAConsumableCapacity) return { value: canonical(value) };
  const all = <T extends object>(texts: T): T =>
    Object.fromEntries(Object.entries(texts).map(([key, text]) => [key, canonical(text as string)])) as T;
  const { default: usual, validRange } = requestPolicy;
  return {
    value: canonical(value),
    requestPolicy: {
      ...usual === undefined ? {} : { default: canonical(usual) },
      ...validRange === undefined ? {} : { validRange: all(validRange) },
    },
  };
}

function storedCounters(counters: CounterSet["counters"]): CounterSet["counters"] {
  return Object.fromEntries(Object.entries(counters).map(([name, { value }]) => [name, { value: canonical(value) }]));
}

/** The slice as it is stored: quantities in their canonical form, without the fields of disabled gates, and with defaults. */
export function admitSlice(slice: ResourceSlice, gates: Gates, now: string): ResourceSlice {
  const devices = slice.spec.devices?.map((device): SliceDevice => {
    const { taints, allowMultipleAllocations, consumesCounters, capacity, ...rest } = device;
    return {
      ...rest,
      ...capacity === undefined ? {} : {
        capacity: Object.fromEntries(
          Object.entries(capacity).map(([name, one]) => [name, storedCapacity(one, gates)]),
        ),
      },
      ...gates.DRADeviceTaints && taints !== undefined
        ? { taints: taints.map((one) => ({ ...one, timeAdded: one.timeAdded ?? now })) }
        : {},
      ...gates.DRAConsumableCapacity && allowMultipleAllocations !== undefined ? { allowMultipleAllocations } : {},
      ...gates.DRAPartitionableDevices && consumesCounters !== undefined
        ? { consumesCounters: consumesCounters.map((one) => ({ ...one, counters: storedCounters(one.counters) })) }
        : {},
    };
  });
  const { sharedCounters, devices: _, ...spec } = slice.spec;
  return {
    ...slice,
    spec: {
      ...spec,
      ...devices === undefined ? {} : { devices },
      ...gates.DRAPartitionableDevices && sharedCounters !== undefined
        ? { sharedCounters: sharedCounters.map((one) => ({ ...one, counters: storedCounters(one.counters) })) }
        : {},
    },
  };
}
