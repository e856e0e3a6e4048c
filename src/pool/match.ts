/**
 * One selector against one HCA. Pure; the answer to "no" is the reason.
 *
 * @module
 */
import { driverNames } from "../hca/drivers.ts";
import type { Hca } from "../hca/types.ts";
import type { PfRange, Selector } from "./spec.ts";

/** Null when every given condition holds for the HCA, else the first that does not, as a sentence. */
export function mismatch(selector: Selector, hca: Hca): string | null {
  const pci = hca.pci;
  const rate = Math.max(0, ...hca.ports.map((port) => port.rateGbps ?? 0));
  const pkeys = hca.ports.flatMap((port) => port.pkey0 === null ? [] : [port.pkey0.toLowerCase()]);
  const layers = [...new Set(hca.ports.map((port) => port.linkLayer))];
  return among("name", selector.hcas, [hca.name]) ??
    among("vendor", selector.vendors, pci?.vendor ? [pci.vendor] : []) ??
    among("PCI device ID", selector.devices, pci?.device ? [pci.device] : []) ??
    among("driver", selector.drivers, driverNames(hca)) ??
    among("PCI address", selector.pciAddresses, pci === null ? [] : [pci.address]) ??
    among("net device", selector.netdevs, hca.netdevs) ??
    pfMismatch(selector.pfs, hca) ??
    masterMismatch(selector.masters, hca) ??
    among("link layer", selector.linkLayers, layers) ??
    among("transport", selector.transports, [hca.transport]) ??
    among(
      "NUMA node",
      selector.numaNodes?.map(String),
      pci?.numaNode === undefined || pci.numaNode === null ? [] : [String(pci.numaNode)],
    ) ??
    among("kind", selector.kinds, [hca.kind]) ??
    among("partition key", selector.pkeys?.map((key) => key.toLowerCase()), pkeys) ??
    (selector.minRateGbps !== undefined && rate < selector.minRateGbps
      ? `its rate is ${rate} Gb/s, less than ${selector.minRateGbps}`
      : null) ??
    pfWithVfsMismatch(selector.pfWithVfs, hca);
}

/** Holds when one of `actual` matches one of the wanted globs, or when nothing is wanted. */
function among(what: string, wanted: readonly string[] | undefined, actual: readonly string[]): string | null {
  if (wanted === undefined) return null;
  if (actual.some((one) => wanted.some((pattern) => glob(pattern, one)))) return null;
  const has = actual.length === 0 ? `it has no ${what}` : `its ${what} is ${actual.join(", ")}`;
  return `${has}, wanted: ${wanted.join(", ")}`;
}

function pfMismatch(wanted: readonly PfRange[] | undefined, hca: Hca): string | null {
  if (wanted === undefined) return null;
  const vf = hca.pci?.vfIndex ?? null;
  const pf = hca.pci?.physfn ?? null;
  const isVf = pf !== null;
  const names = isVf ? [...hca.pci!.pfNetdevs, pf] : [...hca.netdevs, ...hca.pci === null ? [] : [hca.pci.address]];
  const holds = wanted.some(({ pf, vfs }) => {
    if (!names.some((name) => glob(pf, name))) return false;
    return vfs === null || (vf !== null && vfs.includes(vf));
  });
  if (holds) return null;
  const list = wanted.map(({ pf, vfs }) => vfs === null ? pf : `${pf}#${vfs.join(",")}`).join(", ");
  return isVf
    ? `it is VF ${vf ?? "?"} of ${names.join(", ")}, wanted PFs: ${list}`
    : `it is no VF, and its own names are ${names.join(", ") || "none"}, wanted PFs: ${list}`;
}

function masterMismatch(wanted: readonly string[] | undefined, hca: Hca): string | null {
  if (wanted === undefined) return null;
  const pf = hca.pci?.physfn ?? null;
  if (hca.pci === null || pf === null) return `it is no VF, and only VFs of ${wanted.join(", ")} are wanted`;
  return among("PF", wanted, hca.pci.pfNetdevs);
}

function pfWithVfsMismatch(wanted: boolean | undefined, hca: Hca): string | null {
  if (wanted === undefined) return null;
  const has = hca.kind === "pf" && (hca.pci?.sriovNumVfs ?? 0) > 0;
  if (has === wanted) return null;
  return has ? `it is a PF with ${hca.pci!.sriovNumVfs} VFs` : "it is no PF that has VFs";
}

/** Shell-like match of a whole name: `*` any run of characters, `?` any one. Linear: no pattern can make it hang. */
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
