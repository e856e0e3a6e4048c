/**
 * The unix socket of a gRPC server, and the connections on it, in our own hands: so that a server can go without a
 * goodbye.
 *
 * gRPC's own way to end a server says goodbye (GOAWAY) on every connection, and this runtime's HTTP/2 does not always
 * live through one (denoland/deno#36788). A connection that is closed says as much.
 *
 * @module
 */
import { createServer, type Server as NetServer, type Socket } from "node:net";
import { setTimeout as delay } from "node:timers/promises";
import { type Server, ServerCredentials } from "@grpc/grpc-js";

/** Milliseconds that the other ends may take to close their sides. */
const CLOSED_MS = 300;

/** Connections of one gRPC server on one unix socket. */
export class Connections {
  readonly #listener: NetServer;
  readonly #server: Server;
  readonly #open = new Set<Socket>();

  private constructor(listener: NetServer, server: Server) {
    this.#listener = listener;
    this.#server = server;
  }

  /**
   * Serves on a unix socket that is made at `path`.
   *
   * @throws the runtime's error when the path is taken, too long for a unix socket, or in no directory to write to
   */
  static async listen(server: Server, path: string): Promise<Connections> {
    const injector = server.createConnectionInjector(ServerCredentials.createInsecure());
    const listener = createServer();
    const connections = new Connections(listener, server);
    listener.on("connection", (socket) => {
      connections.#open.add(socket);
      socket.once("close", () => connections.#open.delete(socket));
      injector.injectConnection(socket);
    });
    await new Promise<void>((resolve, reject) => {
      listener.once("error", reject);
      listener.listen(path, () => {
        listener.off("error", reject);
        resolve();
      });
    });
    return connections;
  }

  /**
   * Takes no more connections, and waits until the other ends have hung up, as a kubelet does when its stream has ended:
   * a goodbye of theirs that finds the socket ended here can crash the runtime. Those that have not in time are cut.
   */
  async leave(): Promise<void> {
    await this.#closed();
    await this.cut();
  }

  /**
   * Hangs up on everybody without a word, as a process that is killed does: calls under way stay without an answer.
   * Sockets are ended first, since one that is destroyed under its session may crash the runtime later.
   */
  async cut(): Promise<void> {
    for (const socket of this.#open) socket.end();
    await this.#closed();
    for (const socket of this.#open) socket.destroy();
    this.#server.forceShutdown();
  }

  /** Takes no more connections. Resolves when none is open any more, or after {@link CLOSED_MS}. */
  async #closed(): Promise<void> {
    const over = new AbortController();
    const closed = [...this.#open].map((socket) => new Promise((resolve) => socket.once("close", resolve)));
    const listening = new Promise((resolve) => this.#listener.close(resolve));
    const patience = delay(CLOSED_MS, undefined, { signal: over.signal }).catch(() => undefined);
    await Promise.race([Promise.all([listening, ...closed]), patience]);
    over.abort();
    await patience;
  }
}
