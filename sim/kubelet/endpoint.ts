/**
 * The kubelet's connection to one plugin socket, dialled as by grpc-go (authority "localhost"), with the calls of
 * v1beta1.DevicePlugin and one ListAndWatch stream.
 *
 * @module
 */
import { Buffer } from "node:buffer";
import { connect } from "node:net";
import { setTimeout as delay } from "node:timers/promises";
import {
  Client,
  type ClientReadableStream,
  connectivityState,
  type MethodDefinition,
  type ServiceDefinition,
  type ServiceError,
} from "@grpc/grpc-js";
import { localCredentials } from "../../src/kubelet/client_credentials.ts";
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

/** Milliseconds. The kubelet's timeout for dialling a plugin inside Register. */
export const DIAL_TIMEOUT_MS = 10_000;
/** Milliseconds between attempts of one dial. */
const REDIAL_MS = 50;
/** Milliseconds of one wait for a connection; after each it is seen whether it is still wanted. */
const READY_TURN_MS = 100;
/** Milliseconds; longer than REDIAL_MS with jitter, twice: a timer of the library that ends may start one more. */
export const REDIAL_OVER_MS = 150;
/** Milliseconds. Deadline of PreStartContainer. */
const PRE_START_TIMEOUT_MS = 30_000;
/** Milliseconds. The kubelet sets no deadline on the other calls; this one ends tests that hang. */
const CALL_TIMEOUT_MS = 60_000;

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

/** Why nothing accepts a connection at the path now; null when something does. */
function refusal(path: string): Promise<Error | null> {
  return new Promise((resolve) => {
    const connection = connect(path, () => {
      connection.destroy();
      resolve(null);
    });
    connection.once("error", resolve);
  });
}

/**
 * Connects an insecure gRPC client to a unix socket before returning it. Retries refused connections until the timeout,
 * as grpc-go's blocking dial does.
 *
 * @throws Error after `timeoutMs`, or when `signal` aborts.
 */
export async function dial(
  path: string,
  timeoutMs: number,
  signal: AbortSignal,
  authority = "localhost",
): Promise<Client> {
  const timeout = Date.now() + timeoutMs;
  const late = (reason?: string) =>
    new Error(`the plugin's socket ${path} did not answer within ${timeoutMs} ms: ${reason}`);
  // grpc-js does not cancel the timer of its next attempt when a client is closed, so it is only given a socket that
  // accepts connections.
  for (let refused = await refusal(path); refused !== null; refused = await refusal(path)) {
    signal.throwIfAborted();
    if (Date.now() >= timeout) throw late(refused.message);
    await delay(REDIAL_MS, undefined, { signal });
  }
  signal.throwIfAborted();
  const client = new Client(`unix:${path}`, localCredentials(), {
    ...CLIENT_OPTIONS,
    "grpc.default_authority": authority,
    "grpc.initial_reconnect_backoff_ms": REDIAL_MS,
    "grpc.max_reconnect_backoff_ms": REDIAL_MS,
  });
  let failure: Error | undefined;
  do {
    // grpc-js waits to the end of the time even when the client is closed meanwhile.
    const turn = Math.min(timeout, Date.now() + READY_TURN_MS);
    failure = await new Promise((resolve) => client.waitForReady(turn, resolve));
  } while (failure !== undefined && !signal.aborted && Date.now() < timeout);
  if (failure === undefined && !signal.aborted) return client;
  client.close();
  await delay(REDIAL_OVER_MS);
  signal.throwIfAborted();
  throw late(failure?.message);
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
    // A closed client completes its calls; a killed kubelet does not.
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
        else if (response === undefined) reject(new Error(`${path} returned no response`));
        else resolve(response);
      },
    );
    if (signal.aborted) cancel();
    else signal.addEventListener("abort", cancel, { once: true });
  });
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

  /**
   * Ends the stream, pending calls and the connection without further callbacks.
   *
   * @returns whether the library was dialling again, for a call that the plugin had not taken when it ended: its timer
   *   runs on for up to {@link REDIAL_OVER_MS}
   */
  close(): boolean {
    const state = this.#client.getChannel().getConnectivityState(false);
    this.#life.abort();
    this.#stream?.cancel();
    this.#client.close();
    return state === connectivityState.CONNECTING || state === connectivityState.TRANSIENT_FAILURE;
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
