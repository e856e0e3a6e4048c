/**
 * Keeps facts that do not change during an HCA's lifetime when they temporarily cannot be read. Pure.
 *
 * @module
 */
import { transportOf } from "./parse.ts";
import type { Hca, PciFunction } from "./types.ts";

/**
 * Fills values that cannot be read now from the previous reading of the same HCA, and derives what depends on both.
 *
 * @param last the previous reading of the same incarnation; null when there is none
 * @param software whether the HCA identifies itself as software, and so has no PCI function
 */
export function withLastKnown(now: Hca, last: Hca | null, software: boolean): Hca {
  const known = last === null ? now : remembered(now, last, software);
  const driver = known.pci?.driver ?? null;
  const ports = known.ports.map((port) => ({
    ...port,
    transport: transportOf(known.nodeType, driver, port.linkLayer),
  }));
  const transport = ports.map((port) => port.transport).find((one) => one !== "unknown") ??
    transportOf(known.nodeType, driver, "unknown");
  return { ...known, ports, transport };
}

function remembered(now: Hca, last: Hca, software: boolean): Hca {
  // An HCA does not lose its PCI function: an unreadable link must not turn an adapter into a software HCA.
  const lost = now.pci === null && last.pci !== null && !software;
  return {
    ...now,
    nodeType: now.nodeType === "unknown" ? last.nodeType : now.nodeType,
    kind: lost || (now.kind === "pf" && last.kind === "vf") ? last.kind : now.kind,
    sfNumber: lost ? last.sfNumber : now.sfNumber,
    sfDevice: lost ? last.sfDevice : now.sfDevice,
    pci: lost ? last.pci : samePci(now.pci, last.pci),
    ports: now.ports.length === 0 ? last.ports : now.ports,
    bondNetdevs: last.bondNetdevs,
    subdeviceOf: last.subdeviceOf,
  };
}

/** Merges only facts that every function has: values that may legitimately disappear must not be restored. */
function samePci(now: PciFunction | null, last: PciFunction | null): PciFunction | null {
  if (now === null || last === null || now.address !== last.address) return now;
  return {
    ...now,
    vendor: now.vendor ?? last.vendor,
    device: now.device ?? last.device,
    driver: now.driver ?? last.driver,
    physfn: now.physfn ?? last.physfn,
    vfIndex: now.vfIndex ?? last.vfIndex,
    sriovNumVfs: now.sriovNumVfs ?? (now.sriovTotalVfs === null ? null : last.sriovNumVfs),
  };
}
