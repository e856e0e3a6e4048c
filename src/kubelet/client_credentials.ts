/**
 * Credentials of clients on a Unix socket: none, but a client that is closed connects no more.
 *
 * grpc-js 1.14 has a timer after a connection that failed, and connects once more when it fires, also for a client that was
 * closed meanwhile. If a kubelet has come by then, that connection stays open as long as the kubelet does.
 *
 * @module
 */
import { type ChannelCredentials, credentials } from "@grpc/grpc-js";

/** For `unix:` targets of this machine. The library destroys the connector with the client's last connection. */
export function localCredentials(): ChannelCredentials {
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
