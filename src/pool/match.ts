/**
 * Matches one selector against one HCA and its ports. Pure; a mismatch carries its reason.
 *
 * @module
 */
import { driverNames } from "../hca/drivers.ts";
import type { Hca, Port } from "../hca/types.ts";
import type { PfRange, Selector } from "./spec.ts";

/** The reason why a selector does not match. */
export interface Mismatch {
  /** A sentence without the HCA's name: "its kind is vf, wanted: pf". */
  readonly reason: string;
  /** True when the deciding value is unknown now, so the HCA may still be the same one as before. */
  readonly unknown: boolean;
}

/** The matching ports, or the reason why the selector does not match. */
export type Match = { readonly ports: readonly Port[] } | Mismatch;

/** The first condition that does not hold for the HCA; null when all do. */
export function mismatch(selector: Selector, hca: Hca): string | null {
  const found = match(selector, hca);
  return "reason" in found ? found.reason : null;
}

/**
 * The ports for which every condition holds. Link layer, transport, rate, partition key and net device belong to the
 * port; all other conditions belong to the HCA and apply to all of its ports.
 */
export function match(selector: Selector, hca: Hca): Match {
  const pci = hca.pci;
  const of = among("name", selector.hcas, [hca.name]) ??
    among("vendor", selector.vendors, pci?.vendor ? [pci.vendor] : [], pci !== null) ??
    among("PCI device ID", selector.devices, pci?.device ? [pci.device] : [], pci !== null) ??
    among("driver", selector.drivers, driverNames(hca), pci !== null) ??
    among("PCI address", selector.pciAddresses, pci === null ? [] : [pci.address]) ??
    netdevMismatch(selector.netdevs, hca) ??
    pfMismatch(selector.pfs, selector.kinds, hca) ??
    pfMismatch(selector.rootDevices, selector.kinds, hca) ??
    masterMismatch(selector.masters, hca);
  if (of !== null) return of;
  const ports = portMatch(selector, hca);
  if ("reason" in ports) return ports;
  const rest = among(
    "NUMA node",
    selector.numaNodes?.map(String),
    pci?.numaNode === undefined || pci.numaNode === null ? [] : [String(pci.numaNode)],
  ) ??
    among("kind", selector.kinds, [hca.kind]) ??
    pfWithVfsMismatch(selector.pfWithVfs, hca);
  return rest ?? ports;
}

/** Whether a port can carry RDMA: an Ethernet port without a GID table cannot. */
export function carriesRdma(port: Port): boolean {
  return port.linkLayer !== "Ethernet" || port.gidTable !== false;
}

function portMatch(selector: Selector, hca: Hca): Match {
  const able = hca.ports.filter(carriesRdma);
  // An HCA without any such port is still the same adapter, but Unhealthy.
  let ports = named(selector, able.length > 0 ? able : hca.ports);
  const conditions: readonly [string, readonly string[] | undefined, (port: Port) => string | null][] = [
    ["link layer", selector.linkLayers, (port) => port.linkLayer],
    ["transport", selector.transports, (port) => port.transport],
    ["partition key", selector.pkeys?.map((key) => key.toLowerCase()), (port) => port.pkey0?.toLowerCase() ?? null],
  ];
  for (const [what, wanted, valueOf] of conditions) {
    const values = [...new Set(ports.flatMap((port) => valueOf(port) ?? []))];
    const wrong = among(what, wanted, values);
    if (wrong !== null) {
      return {
        ...wrong,
        unknown: ports.length === 0 || ports.some((port) => isUnknown(port, valueOf)),
      };
    }
    if (wanted !== undefined) ports = ports.filter((port) => wanted.some((one) => glob(one, valueOf(port) ?? "")));
  }
  const { minRateGbps: min } = selector;
  if (min === undefined) return { ports };
  const fast = ports.filter((port) => rateOf(port) >= min);
  if (fast.length > 0) return { ports: fast };
  const rate = Math.max(0, ...ports.map(rateOf));
  const unknown = !ports.some((port) => port.state === "ACTIVE" && port.rateGbps !== null);
  return { reason: `its rate is ${rate} Gb/s, less than ${min}`, unknown };
}

/**
 * EFA's link layer is not one of the known values, but this does not count as unknown, because its transport is known.
 */
function isUnknown(port: Port, valueOf: (port: Port) => string | null): boolean {
  const value = valueOf(port);
  return value === null || (value === "unknown" && port.transport === "unknown");
}

function rateOf(port: Port): number {
  return Math.max(port.rateGbps ?? 0, port.upRateGbps ?? 0);
}

/** The ports whose own net device the selector names; all ports when it names the HCA in another way. */
function named(selector: Selector, ports: readonly Port[]): readonly Port[] {
  const wanted = [...selector.netdevs ?? [], ...selector.pfs?.map((one) => one.pf) ?? []];
  const meant = ports.filter((port) => port.netdevs.some((name) => wanted.some((pattern) => glob(pattern, name))));
  return meant.length > 0 ? meant : ports;
}

/**
 * Matches when one of `actual` matches one of the wanted globs, or when nothing is wanted.
 * @param must whether there must be a value, so that no value means unknown
 */
function among(
  what: string,
  wanted: readonly string[] | undefined,
  actual: readonly string[],
  must = false,
): Mismatch | null {
  if (wanted === undefined) return null;
  if (actual.some((one) => wanted.some((pattern) => glob(pattern, one)))) return null;
  const has = actual.length === 0 ? `it has no ${what}` : `its ${what} is ${actual.join(", ")}`;
  return { reason: `${has}, wanted: ${wanted.join(", ")}`, unknown: must && actual.length === 0 };
}

/** Net device names that select an HCA: its own, and those of its bond that stand for it. */
export function namesOf(hca: Hca): readonly string[] {
  return [...hca.netdevs, ...hca.bondNetdevs];
}

/** Whether the HCA has net devices with unknown names, because they are in a pod's network namespace. */
function hasUnknownNetdevs(hca: Hca): boolean {
  return hca.ports.some((port) => port.netdevAway) || (hca.netdevs.length === 0 && hca.kind !== "virtual");
}

function netdevMismatch(wanted: readonly string[] | undefined, hca: Hca): Mismatch | null {
  const found = among("net device", wanted, namesOf(hca));
  if (found === null || !hasUnknownNetdevs(hca)) return found;
  return hca.netdevs.length > 0 ? found : { ...found, unknown: true };
}

function pfMismatch(wanted: Selector["pfs"], kinds: Selector["kinds"], hca: Hca): Mismatch | null {
  if (wanted === undefined) return null;
  if (hca.kind === "sf" && kinds?.includes("sf")) return pfOfSfMismatch(wanted, hca);
  const vf = hca.pci?.vfIndex ?? null;
  const pf = hca.pci?.physfn ?? null;
  const isVf = pf !== null;
  const names = isVf ? [...hca.pci!.pfNetdevs, pf] : [...namesOf(hca), ...hca.pci === null ? [] : [hca.pci.address]];
  const unknown = isVf ? hca.pci!.pfNetdevs.length === 0 || vf === null : hca.pci !== null && hca.netdevs.length === 0;
  const holds = wanted.some(({ pf, vfs }) => {
    if (!names.some((name) => glob(pf, name))) return false;
    return vfs === null || (vf !== null && vfs.includes(vf));
  });
  if (holds) return null;
  const list = wanted.map(describePf).join(", ");
  const reason = isVf
    ? `it is VF ${vf ?? "?"} of ${names.join(", ")}, wanted PFs: ${list}`
    : `it is no VF, and its own names are ${names.join(", ") || "none"}, wanted PFs: ${list}`;
  return { reason, unknown };
}

/** A selector that asks for sub-functions means by `pfs` the PF that carries them, and their numbers by its ranges. */
function pfOfSfMismatch(wanted: readonly PfRange[], hca: Hca): Mismatch | null {
  const pfNetdevs = hca.pci?.pfNetdevs ?? [];
  const names = hca.pci === null ? pfNetdevs : [...pfNetdevs, hca.pci.physfn ?? hca.pci.address];
  const number = hca.sfNumber;
  const holds = wanted.some(({ pf, vfs }) =>
    names.some((name) => glob(pf, name)) && (vfs === null || (number !== null && vfs.includes(number)))
  );
  if (holds) return null;
  const reason = `it is sub-function ${number ?? "?"} of ${names.join(", ") || "an unknown PF"}, wanted PFs: ${
    wanted.map(describePf).join(", ")
  }`;
  return { reason, unknown: pfNetdevs.length === 0 || number === null };
}

/** Describes a selector in the terms of the config file: "kinds: vf, minRate: 100". */
export function describeSelector(selector: Selector): string {
  return Object.entries(selector).map(([key, value]) => {
    if (key === "minRateGbps") return `minRate: ${value}`;
    if (key === "pfWithVfs") return value ? "a PF that has VFs" : "no PF that has VFs";
    if (!Array.isArray(value)) return `${key}: ${value}`;
    return `${key}: ${(value as readonly (string | number | PfRange)[]).map(describeValue).join(", ")}`;
  }).join(", ") || "an empty selector";
}

function describeValue(value: string | number | PfRange): string {
  return typeof value === "object" ? describePf(value) : `${value}`;
}

function describePf({ pf, vfs }: PfRange): string {
  return vfs === null ? pf : `${pf}#${ranges(vfs)}`;
}

/** "0-7,9" of ascending numbers. */
function ranges(numbers: readonly number[]): string {
  const runs: [number, number][] = [];
  for (const n of numbers) {
    const last = runs.at(-1);
    if (last !== undefined && n === last[1] + 1) last[1] = n;
    else runs.push([n, n]);
  }
  return runs.map(([first, last]) => first === last ? `${first}` : `${first}-${last}`).join(",");
}

function masterMismatch(wanted: readonly string[] | undefined, hca: Hca): Mismatch | null {
  if (wanted === undefined) return null;
  const pf = hca.pci?.physfn ?? null;
  if (hca.pci === null || pf === null) {
    return { reason: `it is no VF, and only VFs of ${wanted.join(", ")} are wanted`, unknown: false };
  }
  return among("PF", wanted, hca.pci.pfNetdevs, true);
}

function pfWithVfsMismatch(wanted: boolean | undefined, hca: Hca): Mismatch | null {
  if (wanted === undefined) return null;
  const has = hca.kind === "pf" && (hca.pci?.sriovNumVfs ?? 0) > 0;
  if (has === wanted) return null;
  return { reason: has ? `it is a PF with ${hca.pci!.sriovNumVfs} VFs` : "it is no PF that has VFs", unknown: false };
}

/** Matches a whole name as a shell does: `*` is any run of characters, `?` any one. Linear time for every pattern. */
export function glob(pattern: string, text: string): boolean {
  let p = 0, t = 0, star = -1, mark = 0;
  while (t < text.length) {
    if (p < pattern.length && pattern[p] === "*") {
      star = p++;
      mark = t;
    } else if (p < pattern.length && (pattern[p] === "?" || pattern[p] === text[t])) {
      p++;
      t++;
    } else if (star >= 0) {
      p = star + 1;
      t = ++mark;
    } else return false;
  }
  while (pattern[p] === "*") p++;
  return p === pattern.length;
}
