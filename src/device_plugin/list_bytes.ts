/**
 * Encodes a list of devices. Devices with the same health and topology differ only in their ID, so the rest is encoded
 * once by the protobuf library and the IDs are added here: otherwise ten thousand devices would need ten thousand
 * short-lived objects for every change of a link.
 *
 * @module
 */
import { Buffer } from "node:buffer";
import type { OfferedDevice } from "../pool/devices.ts";

/** `repeated Device devices = 1` of ListAndWatchResponse and `string ID = 1` of Device: field 1, length-delimited. */
const FIELD_1 = 0x0a;

/**
 * Returns the bytes of a ListAndWatchResponse, equal to those that the library would encode.
 *
 * @param encode the library's encoder for all fields of a Device except its ID
 */
export function listBytes(
  devices: readonly OfferedDevice[],
  encode: (condition: Omit<OfferedDevice, "id">) => Uint8Array,
): Buffer {
  const known = new Map<string, Uint8Array>();
  let last: { readonly one: OfferedDevice; readonly bytes: Uint8Array } | null = null;
  const rest = (one: OfferedDevice): Uint8Array => {
    // Shares of one HCA are adjacent and use the same array of NUMA nodes.
    if (last !== null && last.one.healthy === one.healthy && last.one.numaNodes === one.numaNodes) return last.bytes;
    const key = `${one.healthy} ${one.numaNodes}`;
    const bytes = known.get(key) ?? encode(one);
    known.set(key, bytes);
    last = { one, bytes };
    return bytes;
  };
  let size = 0;
  for (const one of devices) size += fieldLength(fieldLength(Buffer.byteLength(one.id)) + rest(one).length);
  const out = Buffer.allocUnsafe(size);
  let at = 0;
  for (const one of devices) {
    const idLength = Buffer.byteLength(one.id);
    const bytes = rest(one);
    at = head(out, at, fieldLength(idLength) + bytes.length);
    at = head(out, at, idLength);
    at += out.write(one.id, at);
    out.set(bytes, at);
    at += bytes.length;
  }
  return out;
}

/** Encoded size of a field 1 with a content of this length. */
function fieldLength(length: number): number {
  const varint = length < 0x80 ? 1 : length < 0x4000 ? 2 : length < 0x20_0000 ? 3 : 4;
  return 1 + varint + length;
}

/** Writes the tag and length of a field 1. @returns the offset of its content */
function head(out: Buffer, at: number, length: number): number {
  out[at++] = FIELD_1;
  let value = length;
  for (; value >= 0x80; value = Math.floor(value / 0x80)) out[at++] = value % 0x80 + 0x80;
  out[at++] = value;
  return at;
}
