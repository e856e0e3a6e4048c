/**
 * Names of devices in ResourceSlices: DNS labels that survive a rename and a reboot. Pure.
 *
 * @module
 */
import { createHash } from "node:crypto";
import { isPciAddress } from "../hca/parse.ts";
import type { Member } from "../pool/select.ts";

/** A DNS label has at most 63 characters. */
const LONGEST = 63;

/**
 * "pci-0000-3b-00-0" for a PCI function, "sf-0000-3b-00-0-4" for its sub-function, "rdma-rxe0" for a software device.
 * The kernel's name (mlx5_0) is an attribute instead: it is not a DNS label, and udev may change it.
 */
export function deviceName(member: Member): string {
  const hca = member.hcas[0];
  if (hca?.kind === "sf" && hca.pci !== null && hca.sfNumber !== null) {
    return label(`sf-${dashes(hca.pci.address)}-${hca.sfNumber}`);
  }
  if (hca?.kind !== "sf" && isPciAddress(member.id)) return label(`pci-${dashes(member.id)}`);
  if (hca !== undefined && hca.kind !== "sf" && hca.pci !== null) return label(`pci-${dashes(hca.pci.address)}`);
  return label(`rdma-${dashes(hca?.name ?? member.id)}`);
}

/** Replaces every character that is not allowed in a label by a dash. */
export function dashes(text: string): string {
  return text.toLowerCase().replace(/[^a-z0-9]+/g, "-").replace(/^-+|-+$/g, "");
}

function label(text: string): string {
  if (text.length <= LONGEST) return text;
  const digest = createHash("sha256").update(text).digest("hex").slice(0, 8);
  return `${text.slice(0, LONGEST - 9).replace(/-+$/, "")}-${digest}`;
}
