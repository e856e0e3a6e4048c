/**
 * The interface between the protocol and the devices: this folder handles sockets, streams and registration, and knows
 * nothing about RDMA. Implementations of {@link DeviceSource} provide the devices.
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
  /** Calls back after every change of {@link list}; returns the function that unsubscribes. */
  subscribe(listener: () => void): () => void;
  /**
   * Handles an AllocateRequest and returns an AllocateResponse.
   * @throws {RequestError} for unknown or unhealthy IDs, and for bytes that are not a valid request
   */
  allocate(request: Buffer): Promise<Buffer> | Buffer;
  /** Handles a PreferredAllocationRequest and returns a PreferredAllocationResponse. */
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
