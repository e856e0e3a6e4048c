/**
 * What a request may ask for at once. The bytes of a request are bounded by gRPC (4 MiB), but what is made of them is
 * not: two bytes are a whole container request, and its answer can be hundreds.
 *
 * @module
 */
import { RequestError } from "./source.ts";

/** Container requests in one call. A kubelet sends one; the API allows a pod's worth of them. */
export const MOST_CONTAINERS = 256;

/** Protobuf's wire types that a request is made of. */
const VARINT = 0, FIXED64 = 1, BYTES = 2, FIXED32 = 5;

/**
 * Refuses an AllocateRequest or a PreferredAllocationRequest with too many container requests, before anything is made
 * of it. Bytes that are no message are left to the decoder, which has words for them.
 *
 * @returns the same bytes
 * @throws {RequestError}
 */
export function checkContainers<Bytes extends Uint8Array>(request: Bytes): Bytes {
  const count = countFirstField(request);
  if (count <= MOST_CONTAINERS) return request;
  throw new RequestError(
    "RESOURCE_EXHAUSTED",
    `The request is for ${count} containers; ${MOST_CONTAINERS} are answered at once, and a kubelet asks for one`,
  );
}

/** How often field 1 stands in a message, in which both requests have their container requests. */
function countFirstField(bytes: Uint8Array): number {
  let count = 0;
  let at = 0;
  const varint = () => {
    let value = 0;
    for (let scale = 1; at < bytes.length; scale *= 128) {
      const byte = bytes[at++]!;
      value += (byte & 0x7f) * scale;
      if (byte < 0x80) break;
    }
    return value;
  };
  while (at < bytes.length) {
    const tag = varint();
    const wire = tag % 8;
    if (Math.floor(tag / 8) === 1) count++;
    if (wire === VARINT) varint();
    else if (wire === BYTES) {
      const length = varint();
      at += length;
    } else if (wire === FIXED64) at += 8;
    else if (wire === FIXED32) at += 4;
    else break;
  }
  return count;
}
