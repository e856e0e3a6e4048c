/**
 * kubelet.sock: the gRPC server of v1beta1.Registration, bound at its final path as the real one binds it.
 *
 * @module
 */
import { mkdtempSync, rmSync, symlinkSync, unlinkSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { Server, status, type UntypedHandleCall } from "@grpc/grpc-js";
import { devicePluginServices, KUBELET_SOCKET } from "../src/kubelet/api.ts";
import { Connections } from "../src/kubelet/connections.ts";
import type { RegisterRequest__Output } from "../src/gen/v1beta1/RegisterRequest.ts";

export type Registration = RegisterRequest__Output;

/** Answers Register by resolving; a rejection's message goes to the plugin with code UNKNOWN. */
export type RegisterHandler = (request: Registration) => Promise<void>;

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
      return new KubeletSocket(await Connections.listen(server, join(alias, "dir", KUBELET_SOCKET)), alias);
    } catch (cause) {
      server.forceShutdown();
      rmSync(alias, { recursive: true, force: true });
      const why = cause instanceof Error ? cause.message : String(cause);
      throw new Error(`Cannot listen on ${join(dir, KUBELET_SOCKET)}: ${why}`, { cause });
    }
  }

  /**
   * Cuts every connection, as a kill does: without a word. "stays" leaves kubelet.sock on disk, where nobody answers any
   * more.
   */
  async close(socket: "stays" | "goes"): Promise<void> {
    if (socket === "stays") unlinkSync(join(this.#alias, "dir"));
    await this.#connections.cut();
    rmSync(this.#alias, { recursive: true, force: true });
  }
}
