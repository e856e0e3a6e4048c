/**
 * What a name in class/infiniband may look like.
 *
 * @module
 */
import { printable } from "../text/printable.ts";

/** `IB_DEVICE_NAME_MAX` is 64; the characters are those that drivers and udev's rdma_rename use. */
export const HCA_NAME = /^[A-Za-z0-9][A-Za-z0-9_.:-]{0,63}$/;

/** The name is untrusted input and must not reach a terminal unescaped. */
export function notAName(name: string): { readonly name: string; readonly reason: string } {
  return { name: printable(name), reason: "this is not a valid name of an RDMA device" };
}
