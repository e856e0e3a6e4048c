/**
 * A gRPC client of the plugin's socket that takes and gives messages as bytes, so that a test can send what no library
 * would make, and compare what comes byte by byte.
 *
 * @module
 */
import { Client, credentials } from "@grpc/grpc-js";
import type { Buffer } from "node:buffer";
import { CLIENT_OPTIONS } from "../../src/kubelet/api.ts";

/** What a call came to: a status code of gRPC with its sentence, or the answer. */
export type Reply =
  | { readonly ok: true; readonly bytes: Buffer }
  | { readonly ok: false; readonly code: number; readonly message: string };

export class BareClient implements Disposable {
  readonly #client: Client;

  constructor(socket: string) {
    this.#client = new Client(`unix:${socket}`, credentials.createInsecure(), {
      ...CLIENT_OPTIONS,
      "grpc.default_authority": "localhost",
      "grpc.max_send_message_length": -1,
    });
  }

  /** Calls a method of the device-plugin API, or any path that begins with a slash; gives up after `ms` milliseconds. */
  call(method: string, message: Buffer, ms = 60_000): Promise<Reply> {
    const path = method.startsWith("/") ? method : `/v1beta1.DevicePlugin/${method}`;
    const same = (bytes: Buffer) => bytes;
    return new Promise((resolve) => {
      this.#client.makeUnaryRequest(path, same, same, message, { deadline: Date.now() + ms }, (error, bytes) => {
        resolve(error === null ? { ok: true, bytes: bytes! } : { ok: false, code: error.code, message: error.details });
      });
    });
  }

  [Symbol.dispose](): void {
    this.#client.close();
  }
}
