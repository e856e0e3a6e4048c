/**
 * What a request may ask for at once. The bytes of a request are bounded by gRPC (4 MiB), but what is made of them is
 * not: two bytes are a whole container request, and its answer can be hundreds.
 *
 * @module
 */
import protobuf from "protobufjs";
import { RequestError } from "./source.ts";

/** Container requests in one call. A kubelet sends one; the API allows a pod's worth of them. */
export const MOST_CONTAINERS = 256;

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
  const reader = protobuf.Reader.create(bytes);
  let count = 0;
  try {
    while (reader.pos < reader.len) {
      const tag = reader.uint32();
      if (tag >>> 3 === 1) count++;
      reader.skipType(tag & 7);
    }
  } catch {
    return count; // torn bytes: the decoder has words for them
  }
  return count;
}
