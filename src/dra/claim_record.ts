/**
 * What is kept of a claim that was prepared, in a form that outlives this process and its configuration.
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

/** An HCA by what survives a rename or a reboot. */
export interface HcaKey {
  readonly name: string;
  readonly pci: string | null;
  readonly sf: number | null;
}

/** A device of a claim. */
export interface HeldDevice extends Exposure {
  /** Request of the claim, without the name of an alternative ("nic/big" → "nic"). */
  readonly request: string;
  readonly pool: string;
  readonly device: string;
  readonly shareID: string | null;
  readonly admin: boolean;
  /** Name in the CDI file; the kubelet remembers it, so it stays although the HCA may be renamed. */
  readonly cdiName: string;
  /** The resource that it was taken from. */
  readonly resource: string;
  /** Which of the HCA's ports that resource means. */
  readonly select: readonly Selector[];
  readonly exclude: readonly Selector[];
  readonly hcas: readonly HcaKey[];
}

export interface ClaimRecord extends ClaimRef {
  readonly version: 1;
  /** `pending` while it is checked whether anybody else has a device; it counts as held from the beginning. */
  readonly state: "pending" | "prepared";
  readonly driver: string;
  readonly devices: readonly HeldDevice[];
  /** Content of the CDI file, as last written. */
  readonly cdi: CdiSpec;
}

export function keyOf(hca: Hca): HcaKey {
  return { name: hca.name, pci: hca.pci?.address ?? null, sf: hca.kind === "sf" ? hca.sfNumber : null };
}

/** The HCA that a key means now; null while it is not there. */
export function findHca(hcas: readonly Hca[], key: HcaKey): Hca | null {
  const same = hcas.filter((hca) =>
    key.pci === null ? hca.name === key.name : hca.pci?.address === key.pci && keyOf(hca).sf === key.sf
  );
  // A function can carry several RDMA devices; the name tells them apart as long as it stays.
  return same.find((hca) => hca.name === key.name) ?? (same.length === 1 ? same[0]! : null);
}

/** "default/training-nic" */
export function nameOf({ namespace, name }: Pick<ClaimRef, "namespace" | "name">): string {
  return `${namespace}/${name}`;
}
