/**
 * The kubelet's client of a plugin socket: dialled as by grpc-go, its unary calls, and hanging up without a timer left.
 *
 * @module
 */
import { connect } from "node:net";
import { setTimeout as delay } from "node:timers/promises";
import { Client, connectivityState, type MethodDefinition } from "@grpc/grpc-js";
import { CLIENT_OPTIONS } from "../../src/kubelet/api.ts";
import { localCredentials } from "../../src/kubelet/client_credentials.ts";

/** Milliseconds between attempts of one dial. */
const REDIAL_MS = 50;
/** Milliseconds of one wait for a connection; after each it is seen whether it is still wanted. */
const READY_TURN_MS = 100;
/** Milliseconds; longer than REDIAL_MS with the library's jitter of a fifth. */
const REDIAL_OVER_MS = 75;
/** Milliseconds. The kubelet sets no deadline on most calls; this one ends tests that hang. */
const CALL_TIMEOUT_MS = 60_000;

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
  await hangUp(client);
  signal.throwIfAborted();
  throw late(failure?.message);
}

/**
 * Closes a client; resolves when the library has no timer left of it.
 *
 * It has one when it dials again, for a call that the plugin had not taken when it ended. When that timer ends it may start
 * one more; each of the two waits is longer than one, and begins after it.
 */
export async function hangUp(client: Client): Promise<void> {
  const state = client.getChannel().getConnectivityState(false);
  client.close();
  if (state !== connectivityState.CONNECTING && state !== connectivityState.TRANSIENT_FAILURE) return;
  await delay(REDIAL_OVER_MS);
  await delay(REDIAL_OVER_MS);
}

/** Makes one unary call; rejects with grpc-js' ServiceError, with code CANCELLED when `signal` aborts. */
export function unary<Req, Res>(
  client: Client,
  { path, requestSerialize, responseDeserialize }: MethodDefinition<Req, Res>,
  request: Req,
  signal: AbortSignal,
  timeoutMs: number = CALL_TIMEOUT_MS,
): Promise<Res> {
  // The library would dial for a call that is cancelled at once, even when its client is closed meanwhile.
  signal.throwIfAborted();
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
    signal.addEventListener("abort", cancel, { once: true });
  });
}
