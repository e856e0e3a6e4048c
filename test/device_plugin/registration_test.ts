import { equal, match, ok } from "@std/assert";
import http2, { type ServerHttp2Stream } from "node:http2";
import { join } from "node:path";
import { register, RegistrationError } from "../../src/device_plugin/registration.ts";
import { temporaryDir } from "../support/temp.ts";

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
    return await register(socket, "example.com/rdma", "rdma.sock", new AbortController().signal).then(
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
