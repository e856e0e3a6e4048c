/**
 * kubelet.sock: the gRPC server of v1beta1.Registration, bound at its final path as the real one binds it.
 *
 * @module
 */
import { mkdtempSync, rmSync, symlinkSync, unlinkSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { setTimeout as delay } from "node:timers/promises";
import { Server, ServerCredentials, status, type UntypedHandleCall } from "@grpc/grpc-js";
import { devicePluginServices, KUBELET_SOCKET } from "../src/kubelet/api.ts";
import type { RegisterRequest__Output } from "../src/gen/v1beta1/RegisterRequest.ts";

export type Registration = RegisterRequest__Output;

/** Answers Register by resolving; a rejection's message goes to the plugin with code UNKNOWN. */
export type RegisterHandler = (request: Registration) => Promise<void>;

/** Milliseconds to wait for the server to say that it is closed, see `shutDown`. */
const SHUT_DOWN_MS = 300;

/**
 * Cuts every connection of a grpc-js server and waits until its sockets are closed.
 *
 * tryShutdown alone would wait for calls under way, but its callback is what tells that all sockets are closed. That
 * callback sometimes never comes when a peer on grpc-go has closed its connection just before (seen with Deno 2.9.6 and
 * grpc-js 1.14.7), so nobody may wait for it for ever.
 */
export async function shutDown(server: Server): Promise<void> {
  const over = new AbortController();
  const closed = new Promise<void>((resolve) => server.tryShutdown(() => resolve()));
  server.forceShutdown();
  const patience = delay(SHUT_DOWN_MS, undefined, { signal: over.signal }).catch(() => undefined);
  await Promise.race([closed, patience]);
  over.abort();
  await patience;
}

/** A listening kubelet.sock. */
export class KubeletSocket {
  readonly #server: Server;
  readonly #alias: string;

  private constructor(server: Server, alias: string) {
    this.#server = server;
    this.#alias = alias;
  }

  /**
   * Listens on `DIR/kubelet.sock`.
   *
   * @throws Error when the path is taken or too long for a unix socket.
   */
  static async listen(dir: string, register: RegisterHandler): Promise<KubeletSocket> {
    // The server removes the path that it was given when it closes. Given a path through a link, the socket itself can
    // be left behind, as a killed kubelet leaves it, by taking the link away first.
    const alias = mkdtempSync(join(tmpdir(), "kubelet-"));
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
      await new Promise<void>((resolve, reject) => {
        const path = join(alias, "dir", KUBELET_SOCKET);
        server.bindAsync(`unix:${path}`, ServerCredentials.createInsecure(), (error) => {
          if (error === null) resolve();
          else reject(new Error(`Cannot listen on ${join(dir, KUBELET_SOCKET)}: ${error.message}`, { cause: error }));
        });
      });
    } catch (error) {
      server.forceShutdown();
      rmSync(alias, { recursive: true, force: true });
      throw error;
    }
    return new KubeletSocket(server, alias);
  }

  /** Cuts every connection. "stays" leaves kubelet.sock on disk, where nobody answers any more. */
  async close(socket: "stays" | "goes"): Promise<void> {
    if (socket === "stays") unlinkSync(join(this.#alias, "dir"));
    await shutDown(this.#server);
    rmSync(this.#alias, { recursive: true, force: true });
  }
}
