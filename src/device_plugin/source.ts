/**
 * The seam between the protocol and what is offered: this folder knows sockets, streams and registration, and nothing
 * of RDMA. Whoever implements {@link DeviceSource} decides what the devices are.
 *
 * @module
 */
import type { Buffer } from "node:buffer";

/** The devices of one resource, as encoded messages of the device-plugin API. */
export interface DeviceSource {
  /** Extended resource name. */
  readonly resource: string;
  /** The current ListAndWatchResponse. The same object while nothing has changed. */
  list(): Buffer;
  /** Calls back after every change of {@link list}; returns the way to stop that. */
  subscribe(listener: () => void): () => void;
  /**
   * AllocateRequest to AllocateResponse.
   * @throws {RequestError} for IDs that are unknown or unhealthy, and for bytes that are no request
   */
  allocate(request: Buffer): Promise<Buffer> | Buffer;
  /** PreferredAllocationRequest to PreferredAllocationResponse. */
  prefer(request: Buffer): Buffer;
}

/** A call that cannot be answered, with the reason for the kubelet. */
export class RequestError extends Error {
  override readonly name = "RequestError";
  /** The gRPC status. */
  readonly code: "INVALID_ARGUMENT" | "FAILED_PRECONDITION" | "RESOURCE_EXHAUSTED" | "UNAVAILABLE";

  constructor(code: RequestError["code"], message: string, options?: ErrorOptions) {
    super(message, options);
    this.code = code;
  }
}
