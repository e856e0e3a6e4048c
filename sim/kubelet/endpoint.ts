/**
 * The kubelet's connection to one plugin socket: dialled as grpc-go does it (authority "localhost"), with the calls of
 * v1beta1.DevicePlugin and one ListAndWatch stream.
 *
 * @module
 */
import { Buffer } from "node:buffer";
import { setTimeout as delay } from "node:timers/promises";
import {
  Client,
  type ClientReadableStream,
  credentials,
  type MethodDefinition,
  type ServiceDefinition,
  type ServiceError,
} from "@grpc/grpc-js";
import {
  type AllocateRequest,
  type AllocateResponse,
  CLIENT_OPTIONS,
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

export type { DevicePluginOptions };

/** Milliseconds. The kubelet blocks this long on dialling a plugin inside Register. */
export const DIAL_TIMEOUT_MS = 10_000;
/**
 * Milliseconds between attempts of one dial. grpc-js leaves its timer for the next attempt running when a client is
 * closed; it is kept short so that it can be waited for.
 */
const REDIAL_MS = 50;
/** Milliseconds, above the longest pause that jitter makes of REDIAL_MS. */
const REDIAL_OVER_MS = 75;
/** Milliseconds. Deadline of PreStartContainer. */
export const PRE_START_TIMEOUT_MS = 30_000;
/** Milliseconds. The kubelet sets no deadline on the other calls; a test that hangs should say where. */
const CALL_TIMEOUT_MS = 60_000;

/** One question to GetPreferredAllocation. */
export interface PreferenceQuestion {
  readonly available: readonly string[];
  readonly mustInclude: readonly string[];
  readonly size: number;
}

/** What the owner of a ListAndWatch stream wants to hear. */
export interface StreamListener {
  readonly onList: (devices: readonly Device[]) => void;
  /** Once, whoever ended it, unless the connection was closed by us before. */
  readonly onEnd: (reason: string) => void;
}

/**
 * An insecure gRPC client on a unix socket, connected before it is returned. A refused connection is tried again until
 * the time is over, as grpc-go's blocking dial does.
 *
 * @throws Error after `timeoutMs`, or when `signal` aborts.
 */
export async function dial(
  path: string,
  timeoutMs: number,
  signal: AbortSignal,
  authority = "localhost",
): Promise<Client> {
  signal.throwIfAborted();
  const client = new Client(`unix:${path}`, credentials.createInsecure(), {
    ...CLIENT_OPTIONS,
    "grpc.default_authority": authority,
    "grpc.initial_reconnect_backoff_ms": REDIAL_MS,
    "grpc.max_reconnect_backoff_ms": REDIAL_MS,
  });
  // Closing the client is what ends a wait for readiness early.
  const giveUp = () => client.close();
  signal.addEventListener("abort", giveUp, { once: true });
  const timeout = Date.now() + timeoutMs;
  const failure = await new Promise<Error | undefined>((resolve) => client.waitForReady(timeout, resolve));
  signal.removeEventListener("abort", giveUp);
  if (failure === undefined && !signal.aborted) return client;
  client.close();
  await delay(REDIAL_OVER_MS);
  signal.throwIfAborted();
  throw new Error(`nothing answers at the plugin's socket ${path} within ${timeoutMs} ms: ${failure?.message}`);
}

/** Makes one unary call; rejects with grpc-js' ServiceError, with code CANCELLED when `signal` aborts. */
export function unary<Req, Res>(
  client: Client,
  { path, requestSerialize, responseDeserialize }: MethodDefinition<Req, Res>,
  request: Req,
  signal: AbortSignal,
  timeoutMs: number = CALL_TIMEOUT_MS,
): Promise<Res> {
  return new Promise((resolve, reject) => {
    const options = { deadline: Date.now() + timeoutMs };
    // A closed client lets its calls finish; a dead kubelet does not.
    const cancel = () => call.cancel();
    const call = client.makeUnaryRequest(
      path,
      requestSerialize,
      responseDeserialize,
      request,
      options,
      (error, response) => {
        signal.removeEventListener("abort", cancel);
        if (error !== null) reject(error);
        else if (response === undefined) reject(new Error(`${path} was answered with nothing`));
        else resolve(response);
      },
    );
    if (signal.aborted) cancel();
    else signal.addEventListener("abort", cancel, { once: true });
  });
}

/** A plugin at the other end of one connection. */
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

  /** One call with as many container requests as lists of device IDs are given; the answers in the same order. */
  async allocate(containers: readonly (readonly string[])[]): Promise<readonly ContainerAllocateResponse[]> {
    const request: AllocateRequest = { container_requests: containers.map((ids) => ({ devices_ids: [...ids] })) };
    const response = await this.#call<AllocateRequest, AllocateResponse>("Allocate", request);
    return response.container_responses ?? [];
  }

  /** The preferred device IDs per question. */
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

  async preStart(ids: readonly string[], timeoutMs: number): Promise<void> {
    const request: PreStartContainerRequest = { devices_ids: [...ids] };
    await this.#call<PreStartContainerRequest, unknown>("PreStartContainer", request, timeoutMs);
  }

  /** Opens the ListAndWatch stream. With `paused` nothing is read from it until `resume()`. */
  watch(listener: StreamListener, paused: boolean): void {
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
    if (paused) stream.pause();
    stream.on("data", (list: ListAndWatchResponse) => {
      if (!this.#life.signal.aborted) listener.onList(list.devices ?? []);
    });
  }

  /** Stops taking messages off the stream: the plugin's writes then pile up against HTTP/2 flow control. */
  pause(): void {
    this.#stream?.pause();
  }

  resume(): void {
    this.#stream?.resume();
  }

  /** Cancels ListAndWatch only; the listener hears of it. */
  cancelWatch(): void {
    this.#stream?.cancel();
  }

  /** Ends the stream, the calls under way and the connection; no listener is called any more. */
  close(): void {
    this.#life.abort();
    this.#stream?.cancel();
    this.#client.close();
  }

  #call<Req, Res>(name: string, request: Req, timeoutMs?: number): Promise<Res> {
    return unary(this.#client, method<Req, Res>(this.#service, name), request, this.#life.signal, timeoutMs);
  }
}

/** A container's answer as bytes, for the checkpoint; the message's own serialization inside an AllocateResponse. */
export function encodeResponse(response: ContainerAllocateResponse): Uint8Array {
  const { responseSerialize } = allocateMethod();
  return responseSerialize({ container_responses: [response] });
}

/** The reverse of `encodeResponse`. */
export function decodeResponse(bytes: Uint8Array): ContainerAllocateResponse {
  const { responseDeserialize } = allocateMethod();
  return responseDeserialize(Buffer.from(bytes)).container_responses?.[0] ?? {};
}

function allocateMethod(): MethodDefinition<AllocateRequest, AllocateResponse> {
  return method(devicePluginServices()["v1beta1.DevicePlugin"], "Allocate");
}
