/**
 * The kubelet's connection to one plugin socket, dialled as by grpc-go (authority "localhost"), with the calls of
 * v1beta1.DevicePlugin and one ListAndWatch stream.
 *
 * @module
 */
import { Buffer } from "node:buffer";
import type { Client, ClientReadableStream, MethodDefinition, ServiceDefinition, ServiceError } from "@grpc/grpc-js";
import {
  type AllocateRequest,
  type AllocateResponse,
  type ContainerAllocateResponse,
  type Device,
  devicePluginServices,
  type ListAndWatchResponse,
  method,
} from "../../src/kubelet/api.ts";
import type { DevicePluginOptions__Output as DevicePluginOptions } from "../../src/gen/v1beta1/DevicePluginOptions.ts";
import type { PreferredAllocationRequest } from "../../src/gen/v1beta1/PreferredAllocationRequest.ts";
import type { PreferredAllocationResponse } from "../../src/gen/v1beta1/PreferredAllocationResponse.ts";
import type { PreStartContainerRequest } from "../../src/gen/v1beta1/PreStartContainerRequest.ts";
import { closeClient } from "../../src/kubelet/local_client.ts";
import { dial, unary } from "./dial.ts";

export type { DevicePluginOptions };

/** Milliseconds. The kubelet's timeout for dialling a plugin inside Register. */
export const DIAL_TIMEOUT_MS = 10_000;
/** Milliseconds. Deadline of PreStartContainer. */
const PRE_START_TIMEOUT_MS = 30_000;

/** One request of GetPreferredAllocation. */
export interface PreferenceQuestion {
  readonly available: readonly string[];
  readonly mustInclude: readonly string[];
  readonly size: number;
}

/** Callbacks of a ListAndWatch stream. */
export interface StreamListener {
  readonly onList: (devices: readonly Device[]) => void;
  /** Called once when the stream ends, unless this side closed the connection before. */
  readonly onEnd: (reason: string) => void;
}

/** The connection to one plugin. */
export class PluginEndpoint {
  readonly socket: string;
  readonly #client: Client;
  readonly #service: ServiceDefinition = devicePluginServices()["v1beta1.DevicePlugin"];
  #stream: ClientReadableStream<ListAndWatchResponse> | null = null;
  readonly #life = new AbortController();

  private constructor(socket: string, client: Client) {
    this.socket = socket;
    this.#client = client;
  }

  /** @throws Error when nothing listens on `socket` for `timeoutMs`. */
  static async connect(socket: string, timeoutMs: number, signal: AbortSignal): Promise<PluginEndpoint> {
    return new PluginEndpoint(socket, await dial(socket, timeoutMs, signal));
  }

  /** @param timeoutMs what Register has left for it; a plugin that the watcher found has all the time there is */
  options(timeoutMs?: number): Promise<DevicePluginOptions> {
    return this.#call("GetDevicePluginOptions", {}, timeoutMs);
  }

  /** One call with a container request per list of device IDs; returns the answers in the same order. */
  async allocate(containers: readonly (readonly string[])[]): Promise<readonly ContainerAllocateResponse[]> {
    const request: AllocateRequest = { container_requests: containers.map((ids) => ({ devices_ids: [...ids] })) };
    const response = await this.#call<AllocateRequest, AllocateResponse>("Allocate", request);
    return response.container_responses ?? [];
  }

  /** The preferred device IDs per request. */
  async preferred(questions: readonly PreferenceQuestion[]): Promise<readonly (readonly string[])[]> {
    const response = await this.#call<PreferredAllocationRequest, PreferredAllocationResponse>(
      "GetPreferredAllocation",
      {
        container_requests: questions.map(({ available, mustInclude, size }) => ({
          available_deviceIDs: [...available],
          must_include_deviceIDs: [...mustInclude],
          allocation_size: size,
        })),
      },
    );
    return (response.container_responses ?? []).map((answer) => answer.deviceIDs ?? []);
  }

  async preStart(ids: readonly string[]): Promise<void> {
    const request: PreStartContainerRequest = { devices_ids: [...ids] };
    await this.#call<PreStartContainerRequest, unknown>("PreStartContainer", request, PRE_START_TIMEOUT_MS);
  }

  /** Opens the ListAndWatch stream. */
  watch(listener: StreamListener): void {
    const { path, requestSerialize, responseDeserialize } = method<object, ListAndWatchResponse>(
      this.#service,
      "ListAndWatch",
    );
    const stream = this.#client.makeServerStreamRequest(path, requestSerialize, responseDeserialize, {});
    this.#stream = stream;
    let ended = false;
    const end = (reason: string) => {
      if (!ended && !this.#life.signal.aborted) listener.onEnd(reason);
      ended = true;
    };
    stream.on("error", (error: ServiceError) => end(`${error.details || error.message} (code ${error.code})`));
    stream.on("end", () => end("the plugin ended the stream"));
    stream.on("data", (list: ListAndWatchResponse) => {
      if (!this.#life.signal.aborted) listener.onList(list.devices ?? []);
    });
  }

  /** Cancels ListAndWatch only; the listener is notified. */
  cancelWatch(): void {
    this.#stream?.cancel();
  }

  /** Ends the stream, pending calls and the connection without further callbacks; resolves as {@link closeClient} does. */
  close(): Promise<void> {
    this.#life.abort();
    this.#stream?.cancel();
    return closeClient(this.#client);
  }

  #call<Req, Res>(name: string, request: Req, timeoutMs?: number): Promise<Res> {
    return unary(this.#client, method<Req, Res>(this.#service, name), request, this.#life.signal, timeoutMs);
  }
}

/** Serializes a container's answer for the checkpoint, as inside an AllocateResponse. */
export function encodeResponse(response: ContainerAllocateResponse): Uint8Array {
  const { responseSerialize } = allocateMethod();
  return responseSerialize({ container_responses: [response] });
}

/** The inverse of `encodeResponse`. */
export function decodeResponse(bytes: Uint8Array): ContainerAllocateResponse {
  const { responseDeserialize } = allocateMethod();
  return responseDeserialize(Buffer.from(bytes)).container_responses?.[0] ?? {};
}

function allocateMethod(): MethodDefinition<AllocateRequest, AllocateResponse> {
  return method(devicePluginServices()["v1beta1.DevicePlugin"], "Allocate");
}
