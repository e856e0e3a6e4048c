/**
 * Limits on the size of a request. gRPC bounds the bytes of a request (4 MiB), but not the work it causes: a container
 * request can have two bytes, and its answer hundreds.
 *
 * @module
 */
import protobuf from "protobufjs";
import { RequestError } from "./source.ts";

/** Container requests in one call. The kubelet sends one; the API allows one per container of a pod. */
export const MOST_CONTAINERS = 256;

/**
 * Rejects an AllocateRequest or PreferredAllocationRequest with too many container requests before it is decoded.
 * Invalid bytes are left to the decoder, which reports them.
 *
 * @returns the same bytes
 * @throws {RequestError}
 */
export function checkContainers<Bytes extends Uint8Array>(request: Bytes): Bytes {
  const count = countFirstField(request);
  if (count <= MOST_CONTAINERS) return request;
  throw new RequestError(
    "RESOURCE_EXHAUSTED",
    `The request is for ${count} containers; at most ${MOST_CONTAINERS} are allowed, and a kubelet sends one`,
  );
}

/** Number of occurrences of field 1, which holds the container requests in both messages. */
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
    return count; // truncated: the decoder reports it
  }
  return count;
}
