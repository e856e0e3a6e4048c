/**
 * Parsers for sysfs attributes: pure functions from the text of one file to a value. Text that does not parse gives
 * `null` or "unknown", never an exception.
 *
 * @module
 */
import type { LinkLayer, NodeType, PortState, Transport } from "./types.ts";

// kernel include/rdma/ib_verbs.h: enum rdma_node_type, as drivers/infiniband/core/sysfs.c prints it
const NODE_TYPES: Readonly<Record<string, NodeType>> = {
  "1": "CA",
  "2": "switch",
  "3": "router",
  "4": "RNIC",
  "5": "usNIC",
  "6": "usNIC UDP",
  "7": "unspecified",
};

// kernel include/rdma/ib_verbs.h: enum ib_port_state
const PORT_STATES: readonly PortState[] = ["NOP", "DOWN", "INIT", "ARMED", "ACTIVE", "ACTIVE_DEFER"];

/** `node_type`: "1: CA". */
export function parseNodeType(text: string | null): NodeType {
  return NODE_TYPES[text?.match(/^(\d+):/)?.[1] ?? ""] ?? "unknown";
}

/** `ports/N/state`: "4: ACTIVE". Only the number is used; the words differ between kernels. */
export function parsePortState(text: string | null): PortState {
  const digits = text?.match(/^(\d+):/)?.[1];
  return digits === undefined ? "unknown" : PORT_STATES[Number(digits)] ?? "unknown";
}

/** `ports/N/phys_state`: "5: LinkUp". */
export function parsePhysState(text: string | null): string | null {
  return text?.match(/^\d+:\s*(\S+)/)?.[1] ?? null;
}

/** `ports/N/link_layer`. */
export function parseLinkLayer(text: string | null): LinkLayer {
  return text === "InfiniBand" || text === "Ethernet" ? text : "unknown";
}

/** `ports/N/rate`: Gb/s in front of "100 Gb/sec (4X EDR)". */
export function parseRate(text: string | null): number | null {
  const digits = text?.match(/^(\d+(?:\.\d+)?)\s*Gb\/sec/)?.[1];
  return digits === undefined ? null : Number(digits);
}

/** Hexadecimal or decimal number of at most 32 bits: `lid` "0x1f", `sriov_numvfs` "4", `numa_node` "-1". */
export function parseNumber(text: string | null): number | null {
  if (text === null || !/^(0x[0-9a-f]{1,8}|-?\d{1,10})$/i.test(text)) return null;
  return Number(text);
}

/** `node_guid`: four groups of four hex digits; all zeros is no GUID. */
export function parseGuid(text: string | null): string | null {
  if (text === null || !/^([0-9a-f]{4}:){3}[0-9a-f]{4}$/i.test(text)) return null;
  return /[1-9a-f]/i.test(text) ? text.toLowerCase() : null;
}

/** `ports/N/gids/M`: eight groups; an unused slot is all zeros and gives `null`. */
export function parseGid(text: string | null): string | null {
  if (text === null || !/^([0-9a-f]{4}:){7}[0-9a-f]{4}$/i.test(text)) return null;
  return /[1-9a-f]/i.test(text) ? text.toLowerCase() : null;
}

/** `vendor` and `device` of a PCI function: "0x15b3" → "15b3". */
export function parsePciId(text: string | null): string | null {
  return text?.match(/^0x([0-9a-f]{4})$/i)?.[1]?.toLowerCase() ?? null;
}

/** `dev` of a character device: "231:192". */
export function parseDev(text: string | null): string | null {
  return text !== null && /^\d{1,4}:\d{1,7}$/.test(text) ? text : null;
}

/** True for "0000:3b:00.0" (domains can have more than four digits: VMD). */
export function isPciAddress(text: string): boolean {
  return /^[0-9a-f]{4,8}:[0-9a-f]{2}:[0-9a-f]{2}\.[0-7]$/i.test(text);
}

/** A port's wire protocol. EFA reports "unspecified" and an unknown link layer, so its driver decides. */
export function transportOf(nodeType: NodeType, driver: string | null, layer: LinkLayer): Transport {
  if (driver === "efa") return "EFA";
  if (nodeType === "RNIC") return "iWARP";
  if (layer === "InfiniBand") return "IB";
  if (nodeType === "CA" && layer === "Ethernet") return "RoCE";
  return "unknown";
}

/** PCI drivers without iWARP support: an RNIC on one of them is soft-iWARP. */
const NO_RNIC = new Set(["mlx4_core", "mlx5_core", "bnxt_en", "hns3", "efa", "hfi1", "be2net", "mana", "virtio-pci"]);

/**
 * Whether an RDMA device is software although it has a `device` link: before kernel 5.11 the link of soft-RoCE and
 * soft-iWARP led to the NIC below. Only soft-RoCE has `parent`; soft-iWARP is recognised by its description (which
 * rdma-ndd may have changed), as an RNIC on a driver without iWARP support, or as an RNIC of its usual name.
 */
export function isSoftware(
  facts: { name: string; parent: string | null; nodeDesc: string | null; nodeType: NodeType; driver: string | null },
): boolean {
  if (facts.parent !== null || /^(rxe|siw)\w*$|^software iwarp/i.test(facts.nodeDesc ?? "")) return true;
  if (facts.nodeType !== "RNIC") return false;
  return /^siw/.test(facts.name) || (facts.driver !== null && NO_RNIC.has(facts.driver));
}
