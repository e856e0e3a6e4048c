/**
 * grpc-js clients of Unix sockets, without what grpc-js 1.14 leaves behind when one is closed.
 *
 * @module
 */
import { type ChannelCredentials, Client, type ClientOptions, connectivityState, credentials } from "@grpc/grpc-js";
import type { Socket } from "node:net";
import { setTimeout as delay } from "node:timers/promises";
import { CLIENT_OPTIONS } from "./api.ts";

/** The library's time before it connects again, and one that is longer with its jitter of a fifth, in milliseconds. */
const RECONNECT_MS = 1;
const RECONNECT_OVER_MS = 3;
/** Its time before it tries a second address, in milliseconds; it is not stopped by closing the client. */
const SECOND_ADDRESS_MS = 250;

/** The open connections of each client. */
const connections = new WeakMap<Client, ReadonlySet<Socket>>();

/** A client of the server on a Unix socket of this machine. Close it by {@link closeClient}. */
export function localClient(path: string, options: ClientOptions = {}): Client {
  const open = new Set<Socket>();
  const client = new Client(`unix:${path}`, localCredentials(open), {
    ...CLIENT_OPTIONS,
    // A call fails with the first connection that is refused. The library then waits to connect again, closed or not: its
    // timer is as short as it gets.
    "grpc.initial_reconnect_backoff_ms": RECONNECT_MS,
    "grpc.max_reconnect_backoff_ms": RECONNECT_MS,
    ...options,
  });
  connections.set(client, open);
  return client;
}

/**
 * Closes a client and completes its calls. Resolves when the library has no timer left of it, which closing does not stop:
 * at once for one that is connected, a few milliseconds after a connection that failed, and otherwise when it has connected
 * or failed, or after {@link SECOND_ADDRESS_MS}.
 */
export async function closeClient(client: Client): Promise<void> {
  const channel = client.getChannel();
  const { CONNECTING, READY, TRANSIENT_FAILURE } = connectivityState;
  if (channel.getConnectivityState(false) === CONNECTING) {
    const deadline = Date.now() + SECOND_ADDRESS_MS;
    await new Promise<void>((resolve) => channel.watchConnectivityState(CONNECTING, deadline, () => resolve()));
  }
  const state = channel.getConnectivityState(false);
  client.close();
  // The library leaves a connection open whose server has not spoken yet: a kubelet that hangs would collect one from each.
  if (state !== READY) { for (const one of connections.get(client) ?? []) one.destroy(); }
  // The timer of the failure may start one more when it ends: each of these ends later than that one, and starts later.
  for (let n = 0; state === TRANSIENT_FAILURE && n < 2; n++) await delay(RECONNECT_OVER_MS);
}

/**
 * No credentials, but a client that is closed connects no more: grpc-js connects once more when its timer fires, and if a
 * kubelet has come by then, that connection stays open as long as the kubelet does. The library destroys the connector with
 * the client's last connection.
 */
function localCredentials(open: Set<Socket>): ChannelCredentials {
  const local = credentials.createInsecure();
  const create = local._createSecureConnector.bind(local);
  local._createSecureConnector = (...words) => {
    const connector = create(...words);
    let closed = false;
    return {
      ...connector,
      waitForReady: () => closed ? Promise.reject(new Error("the client is closed")) : connector.waitForReady(),
      // A rejection here makes the library close the socket.
      connect: (socket) => {
        if (closed) return Promise.reject(new Error("the client is closed"));
        open.add(socket);
        socket.once("close", () => open.delete(socket));
        return connector.connect(socket);
      },
      destroy: () => void (closed = true),
    };
  };
  return local;
}
