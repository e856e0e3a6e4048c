/**
 * Facts that do not change while an HCA lives: what cannot be read for a moment is still what it was. Pure.
 *
 * @module
 */
import { transportOf } from "./parse.ts";
import type { Hca, PciFunction } from "./types.ts";

/**
 * What was just read, with what this very HCA said before in place of what it does not say now, and with what follows
 * from both.
 *
 * @param last the last reading of the same incarnation; null when there was none
 * @param software whether it says itself that it is software, and so has no function to lose
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
  // A function is not lost while its HCA is there: a link that cannot be followed makes no software of an adapter.
  const lost = now.pci === null && last.pci !== null && !software;
  return {
    ...now,
    nodeType: now.nodeType === "unknown" ? last.nodeType : now.nodeType,
    kind: lost || (now.kind === "pf" && last.kind === "vf") ? last.kind : now.kind,
    sfNumber: lost ? last.sfNumber : now.sfNumber,
    pci: lost ? last.pci : samePci(now.pci, last.pci),
    ports: now.ports.length === 0 ? last.ports : now.ports,
    bondNetdevs: last.bondNetdevs,
    subdeviceOf: last.subdeviceOf,
  };
}

/** Only what every function has: a fact that is missing on purpose must not be replaced by one that was a mistake. */
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
