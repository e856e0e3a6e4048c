/**
 * The record of a prepared claim, independent of this process and its configuration.
 *
 * @module
 */
import type { Hca } from "../hca/types.ts";
import type { CdiSpec } from "../pool/cdi.ts";
import type { Selector } from "../pool/spec.ts";
import type { Exposure } from "./exposure.ts";

/** A claim as the kubelet names it. */
export interface ClaimRef {
  readonly namespace: string;
  readonly name: string;
  readonly uid: string;
}

/** Identifies an HCA across renames and reboots. */
export interface HcaKey {
  readonly name: string;
  readonly pci: string | null;
  readonly sf: number | null;
}

export interface HeldDevice extends Exposure {
  /** Request of the claim, without the name of an alternative ("nic/big" → "nic"). */
  readonly request: string;
  readonly pool: string;
  readonly device: string;
  readonly shareID: string | null;
  readonly admin: boolean;
  /** Name of the CDI device. The kubelet stores it, so it does not change when the HCA is renamed. */
  readonly cdiName: string;
  /** The resource whose device it is. */
  readonly resource: string;
  /** The selectors of that resource, which choose the ports of the HCA. */
  readonly select: readonly Selector[];
  readonly exclude: readonly Selector[];
  readonly hcas: readonly HcaKey[];
}

export interface ClaimRecord extends ClaimRef {
  readonly version: 1;
  /**
   * `pending` until no other claim is found to hold one of the devices; a pending record counts as a holder as well.
   */
  readonly state: "pending" | "prepared";
  readonly driver: string;
  readonly devices: readonly HeldDevice[];
  /** Content of the CDI file, as last written. */
  readonly cdi: CdiSpec;
}

export function keyOf(hca: Hca): HcaKey {
  return { name: hca.name, pci: hca.pci?.address ?? null, sf: hca.kind === "sf" ? hca.sfNumber : null };
}

/** The HCA that a key identifies; null while it is missing. */
export function findHca(hcas: readonly Hca[], key: HcaKey): Hca | null {
  const same = hcas.filter((hca) =>
    key.pci === null ? hca.name === key.name : hca.pci?.address === key.pci && keyOf(hca).sf === key.sf
  );
  // A PCI function can have several RDMA devices, which only their names distinguish.
  return same.find((hca) => hca.name === key.name) ?? (same.length === 1 ? same[0]! : null);
}

/** "default/training-nic" */
export function nameOf({ namespace, name }: Pick<ClaimRef, "namespace" | "name">): string {
  return `${namespace}/${name}`;
}
