/**
 * The kubelet's client of a plugin socket: dialled as by grpc-go, and its unary calls.
 *
 * @module
 */
import { connect } from "node:net";
import { setTimeout as delay } from "node:timers/promises";
import type { Client, MethodDefinition } from "@grpc/grpc-js";
import { closeClient, localClient } from "../../src/kubelet/local_client.ts";

/** Milliseconds between attempts of one dial. */
const REDIAL_MS = 50;
/** Milliseconds of one wait for a connection; after each it is seen whether it is still wanted. */
const READY_TURN_MS = 100;
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
  // grpc-js would try again after a millisecond, so it is only given a socket that accepts connections.
  for (let refused = await refusal(path); refused !== null; refused = await refusal(path)) {
    signal.throwIfAborted();
    if (Date.now() >= timeout) throw late(refused.message);
    await delay(REDIAL_MS, undefined, { signal });
  }
  signal.throwIfAborted();
  const client = localClient(path, { "grpc.default_authority": authority });
  let failure: Error | undefined;
  do {
    // grpc-js waits to the end of the time even when the client is closed meanwhile.
    const turn = Math.min(timeout, Date.now() + READY_TURN_MS);
    failure = await new Promise((resolve) => client.waitForReady(turn, resolve));
  } while (failure !== undefined && !signal.aborted && Date.now() < timeout);
  if (failure === undefined && !signal.aborted) return client;
  await closeClient(client);
  signal.throwIfAborted();
  throw late(failure?.message);
}

/**
 * Makes one unary call; rejects with grpc-js' ServiceError, with code CANCELLED when `signal` aborts, and with the signal's
 * reason when it has aborted before.
 */
export function unary<Req, Res>(
  client: Client,
  { path, requestSerialize, responseDeserialize }: MethodDefinition<Req, Res>,
  request: Req,
  signal: AbortSignal,
  timeoutMs: number = CALL_TIMEOUT_MS,
): Promise<Res> {
  return new Promise((resolve, reject) => {
    // The library would dial for a call that is cancelled at once, even when its client is closed meanwhile.
    if (signal.aborted) return reject(signal.reason);
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
