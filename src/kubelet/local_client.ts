/**
 * grpc-js clients of Unix sockets, without what grpc-js 1.14 leaves behind when one is closed.
 *
 * @module
 */
import { type ChannelCredentials, Client, type ClientOptions, connectivityState, credentials } from "@grpc/grpc-js";
import { CLIENT_OPTIONS } from "./api.ts";

/** The library's time before it tries a second address, in milliseconds; it is not stopped by closing the client. */
const SECOND_ADDRESS_MS = 250;

/** A client of the server on a Unix socket of this machine. Close it by {@link closeClient}. */
export function localClient(socket: string, options: ClientOptions = {}): Client {
  return new Client(`unix:${socket}`, localCredentials(), {
    ...CLIENT_OPTIONS,
    // A call fails with the first connection that is refused. The library then waits to connect again, closed or not: its
    // timer is as short as it gets.
    "grpc.initial_reconnect_backoff_ms": 1,
    "grpc.max_reconnect_backoff_ms": 1,
    ...options,
  });
}

/**
 * Closes a client and completes its calls. Resolves when that is done: at once, or while it connects, when it has connected
 * or after {@link SECOND_ADDRESS_MS}, because a client that is closed earlier keeps its timers.
 */
export async function closeClient(client: Client): Promise<void> {
  const channel = client.getChannel();
  const { CONNECTING } = connectivityState;
  if (channel.getConnectivityState(false) === CONNECTING) {
    const deadline = Date.now() + SECOND_ADDRESS_MS;
    await new Promise<void>((resolve) => channel.watchConnectivityState(CONNECTING, deadline, () => resolve()));
  }
  client.close();
}

/**
 * No credentials, but a client that is closed connects no more: grpc-js connects once more when its timer fires, and if a
 * kubelet has come by then, that connection stays open as long as the kubelet does. The library destroys the connector with
 * the client's last connection.
 */
function localCredentials(): ChannelCredentials {
  const local = credentials.createInsecure();
  const create = local._createSecureConnector.bind(local);
  local._createSecureConnector = (...words) => {
    const connector = create(...words);
    let closed = false;
    return {
      ...connector,
      waitForReady: () => closed ? Promise.reject(new Error("the client is closed")) : connector.waitForReady(),
      // A rejection here makes the library close the socket.
      connect: (socket) => closed ? Promise.reject(new Error("the client is closed")) : connector.connect(socket),
      destroy: () => void (closed = true),
    };
  };
  return local;
}
