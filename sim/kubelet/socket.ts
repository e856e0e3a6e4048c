/**
 * kubelet.sock: the gRPC server of v1beta1.Registration, bound at its final path as the real kubelet does.
 *
 * @module
 */
import { mkdtempSync, rmSync, symlinkSync, unlinkSync } from "node:fs";
import { createServer, type Server as NetServer, type Socket } from "node:net";
import { join } from "node:path";
import { setTimeout as delay } from "node:timers/promises";
import { Server, ServerCredentials, status, type UntypedHandleCall } from "@grpc/grpc-js";
import { devicePluginServices, KUBELET_SOCKET } from "../../src/kubelet/api.ts";
import type { RegisterRequest__Output } from "../../src/gen/v1beta1/RegisterRequest.ts";
import { socketParent } from "../host/temporary.ts";

export type Registration = RegisterRequest__Output;

/** Handles Register; the message of a rejection is sent to the plugin with code UNKNOWN. */
export type RegisterHandler = (request: Registration) => Promise<void>;

/** Milliseconds for sockets to close with their sessions. */
const CLOSED_MS = 300;

/** The sockets of a gRPC server, which can be cut as by a kill. */
export class Connections {
  readonly #listener: NetServer;
  readonly #server: Server;
  readonly #open = new Set<Socket>();

  private constructor(listener: NetServer, server: Server) {
    this.#listener = listener;
    this.#server = server;
  }

  /** Serves on a unix socket. @throws when the path is in use or too long. */
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
      listener.listen(path, resolve);
    });
    return connections;
  }

  /**
   * Ends all connections as if the process were killed: no GOAWAY, which the library's own methods send, and pending
   * calls get no answer. Sockets are ended first, and destroyed only if that takes too long.
   */
  async cut(): Promise<void> {
    const over = new AbortController();
    const closed = [...this.#open].map((socket) => new Promise((resolve) => socket.once("close", resolve)));
    const listening = new Promise((resolve) => this.#listener.close(resolve));
    for (const socket of this.#open) socket.end();
    const patience = delay(CLOSED_MS, undefined, { signal: over.signal }).catch(() => undefined);
    await Promise.race([Promise.all([listening, ...closed]), patience]);
    over.abort();
    await patience;
    for (const socket of this.#open) socket.destroy();
    this.#server.forceShutdown();
  }
}

/** A listening kubelet.sock. */
export class KubeletSocket {
  readonly #connections: Connections;
  readonly #alias: string;

  private constructor(connections: Connections, alias: string) {
    this.#connections = connections;
    this.#alias = alias;
  }

  /**
   * Listens on `DIR/kubelet.sock`.
   *
   * @throws Error when the path is in use or too long for a unix socket.
   */
  static async listen(dir: string, register: RegisterHandler): Promise<KubeletSocket> {
    // The server removes its path when it closes. With a path through a link, the socket can be left behind, as by a
    // killed kubelet, by removing the link first.
    const alias = mkdtempSync(join(socketParent(), "kubelet-"));
    symlinkSync(dir, join(alias, "dir"));
    const server = new Server();
    const handlers: Record<string, UntypedHandleCall> = {
      Register: (call: { request: Registration }, answer: (error: object | null, value?: object) => void) => {
        register(call.request).then(
          () => answer(null, {}),
          (error: unknown) =>
            answer({ code: status.UNKNOWN, details: error instanceof Error ? error.message : String(error) }),
        );
      },
    };
    server.addService(devicePluginServices()["v1beta1.Registration"], handlers);
    try {
      return new KubeletSocket(await Connections.listen(server, join(alias, "dir", KUBELET_SOCKET)), alias);
    } catch (cause) {
      server.forceShutdown();
      rmSync(alias, { recursive: true, force: true });
      const why = cause instanceof Error ? cause.message : String(cause);
      throw new Error(`Cannot listen on ${join(dir, KUBELET_SOCKET)}: ${why}`, { cause });
    }
  }

  /** Cuts all connections. "stays" leaves kubelet.sock on disk without a listener. */
  async close(socket: "stays" | "goes"): Promise<void> {
    if (socket === "stays") unlinkSync(join(this.#alias, "dir"));
    await this.#connections.cut();
    rmSync(this.#alias, { recursive: true, force: true });
  }
}
