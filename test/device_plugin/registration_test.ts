import { equal, match, ok, rejects } from "@std/assert";
import { Buffer } from "node:buffer";
import { renameSync } from "node:fs";
import http2, { type ServerHttp2Stream } from "node:http2";
import type { Socket } from "node:net";
import { join } from "node:path";
import { register, RegistrationError } from "../../src/device_plugin/registration.ts";
import { temporaryDir, within } from "../support/temp.ts";

const cancel = () => new AbortController().signal;

/** What a call is told by a kubelet that treats it so. */
async function told(treat: (stream: ServerHttp2Stream) => void): Promise<RegistrationError> {
  using dir = temporaryDir();
  const socket = join(dir.path, "kubelet.sock");
  const server = http2.createServer();
  server.on("stream", (stream) => {
    stream.on("error", () => {}); // the client hears of it
    treat(stream as ServerHttp2Stream);
  });
  await new Promise<void>((resolve) => server.listen(socket, resolve));
  try {
    return await register(socket, "example.com/rdma", "rdma.sock", cancel()).then(
      () => ok(false, "the call succeeded") as never,
      (error: RegistrationError) => error,
    );
  } finally {
    await new Promise<void>((resolve) => server.close(() => resolve()));
  }
}

Deno.test("a Register call that is reset without a status counts as unanswered, whatever the reset's code", async () => {
  const { NGHTTP2_CANCEL, NGHTTP2_NO_ERROR, NGHTTP2_REFUSED_STREAM } = http2.constants;
  for (const code of [NGHTTP2_CANCEL, NGHTTP2_NO_ERROR, NGHTTP2_REFUSED_STREAM]) {
    const error = await told((stream) => stream.close(code));
    equal(error.unreachable, true, `${code}: ${error.message}`);
  }
});

Deno.test("a Register call that the kubelet answers with a status is a refusal, CANCELLED too", async () => {
  for (const [status, words] of [["1", "context canceled"], ["2", "the resource name is not valid"]] as const) {
    const error = await told((stream) =>
      stream.respond({
        ":status": 200,
        "content-type": "application/grpc",
        "grpc-status": status,
        "grpc-message": words,
      }, { endStream: true })
    );
    equal(error.unreachable, false);
    match(error.message, new RegExp(words));
  }
});

Deno.test("a Register call that found no one leaves no connection to a kubelet that comes right after it", async () => {
  using dir = temporaryDir();
  for (let i = 0; i < 20; i++) {
    const socket = join(dir.path, `kubelet-${i}.sock`);
    const server = http2.createServer();
    const ended: Promise<void>[] = [];
    server.on("connection", (one: Socket) => ended.push(new Promise((resolve) => one.once("close", () => resolve()))));
    server.on("stream", (stream: ServerHttp2Stream) => {
      stream.respond({ ":status": 200, "content-type": "application/grpc" }, { waitForTrailers: true });
      stream.on("wantTrailers", () => stream.sendTrailers({ "grpc-status": "0" }));
      stream.end(Buffer.alloc(5));
    });
    await new Promise<void>((resolve) => server.listen(`${socket}.new`, resolve));
    await rejects(register(socket, "example.com/rdma", "rdma.sock", cancel()), RegistrationError);
    renameSync(`${socket}.new`, socket);
    await register(socket, "example.com/rdma", "rdma.sock", cancel());
    await within(Promise.all(ended), `the connections of try ${i} to end`);
    server.close();
  }
});
