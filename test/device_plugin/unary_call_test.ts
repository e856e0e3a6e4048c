import { deepEqual, equal, match } from "@std/assert";
import { Server } from "@grpc/grpc-js";
import { Buffer } from "node:buffer";
import { once } from "node:events";
import { type ClientHttp2Session, connect, type IncomingHttpHeaders } from "node:http2";
import { connect as dial } from "node:net";
import { join } from "node:path";
import { gzipSync } from "node:zlib";
import { PluginServer } from "../../src/device_plugin/server.ts";
import { RequestError } from "../../src/device_plugin/source.ts";
import { grpcMessage } from "../support/raw_http2.ts";
import { temporaryDir } from "../support/temp.ts";

const ALLOCATE = "/v1beta1.DevicePlugin/Allocate";

interface Rig {
  readonly session: ClientHttp2Session;
  /** What the server said of calls: method, and the code of a refusal. */
  readonly calls: string[];
}

/** A server whose answer to Allocate is the request backwards, at once or later; "no" is refused. */
async function served(use: (rig: Rig) => Promise<void>): Promise<void> {
  using dir = temporaryDir();
  const path = join(dir.path, "plugin.sock");
  const calls: string[] = [];
  const backwards = (request: Buffer) => Buffer.from(request.toReversed());
  const server = await PluginServer.listen(path, {
    resource: "example.com/rdma",
    list: () => Buffer.alloc(0),
    subscribe: () => () => {},
    prefer: backwards,
    allocate(request) {
      if (String(request) === "no") throw new RequestError("FAILED_PRECONDITION", "not now: 100 % busy");
      if (String(request) === "later no") return Promise.reject(new Error("broken"));
      return String(request) === "later" ? Promise.resolve(backwards(request)) : backwards(request);
    },
  }, {
    onStreams: () => {},
    onListSent: () => {},
    onCall: (method, _seconds, refused) => calls.push(refused === null ? method : `${method} ${refused.code}`),
  });
  const session = connect("http://localhost", { createConnection: () => dial(path) });
  try {
    await use({ session, calls });
  } finally {
    session.close();
    await server.close(500);
  }
}

/** One call by hand: status, words and the body. */
async function call(session: ClientHttp2Session, body: readonly Uint8Array[], more: Record<string, string> = {}) {
  const headers = { ":method": "POST", ":path": ALLOCATE, "content-type": "application/grpc", te: "trailers", ...more };
  const stream = session.request(headers);
  const said: IncomingHttpHeaders[] = [];
  stream.on("response", (one) => said.push(one));
  stream.on("trailers", (one) => said.push(one));
  const chunks: Buffer[] = [];
  stream.on("data", (chunk: Buffer) => chunks.push(chunk));
  for (const part of body) stream.write(part);
  stream.end();
  await once(stream, "close");
  const { "grpc-status": code, "grpc-message": words } = Object.assign({}, ...said) as Record<string, string>;
  return { code: Number(code), words: decodeURI(words ?? ""), body: Buffer.concat(chunks) };
}

const message = (text: string) => grpcMessage(Buffer.from(text));

Deno.test("the library still takes streams over where the short way begins", () => {
  equal(typeof Reflect.get(new Server(), "_streamHandler"), "function");
});

Deno.test("a plain call is answered, at once and later, whole and in pieces", () =>
  served(async ({ session, calls }) => {
    for (const text of ["abc", "later", ""]) {
      const { code, body } = await call(session, [message(text)]);
      deepEqual([code, body], [0, message([...text].reverse().join(""))]);
    }
    const whole = message("x".repeat(70_000) + "y");
    const { code, body } = await call(session, [
      whole.subarray(0, 3),
      whole.subarray(3, 40_000),
      whole.subarray(40_000),
    ]);
    deepEqual([code, body], [0, message("y" + "x".repeat(70_000))]);
    deepEqual(calls, ["Allocate", "Allocate", "Allocate", "Allocate"]);
  }));

Deno.test("a refusal has its code and its sentence, also when it comes later", () =>
  served(async ({ session, calls }) => {
    const now = await call(session, [message("no")]);
    deepEqual([now.code, now.words, now.body.length], [9, "not now: 100 % busy", 0]);
    const later = await call(session, [message("later no")]);
    deepEqual([later.code, later.words], [13, "broken"]);
    deepEqual(calls, ["Allocate FAILED_PRECONDITION", "Allocate INTERNAL"]);
  }));

Deno.test("what is no single message is refused without a word to anybody else", () =>
  served(async ({ session, calls }) => {
    const compressed = message("abc");
    compressed[0] = 1;
    for (const body of [[], [message("abc").subarray(0, 6)], [message("a"), message("b")], [compressed]]) {
      const { code, words } = await call(session, body);
      equal(code, 13, words);
    }
    const long = await call(session, [grpcMessage(Buffer.alloc((4 << 20) + 1))]);
    equal(long.code, 8);
    match(long.words, /larger than max/);
    deepEqual(calls, []);
  }));

Deno.test("calls with a deadline, a compressed message or another content type go through the library", () =>
  served(async ({ session, calls }) => {
    const deadline = await call(session, [message("abc")], { "grpc-timeout": "5S" });
    deepEqual([deadline.code, deadline.body], [0, message("cba")]);
    const packed = grpcMessage(gzipSync("abc"));
    packed[0] = 1;
    const gzip = await call(session, [packed], { "grpc-encoding": "gzip" });
    deepEqual([gzip.code, gzip.body], [0, message("cba")]);
    const other = await call(session, [message("abc")], { "content-type": "application/grpc+other" });
    deepEqual([other.code, other.body], [0, message("cba")]);
    deepEqual(calls, ["Allocate", "Allocate", "Allocate"]);
  }));

Deno.test("a caller that has gone does no harm, before its answer or after", () =>
  served(async ({ session }) => {
    for (const text of ["later", "abc"]) {
      const stream = session.request({ ":method": "POST", ":path": ALLOCATE, "content-type": "application/grpc" });
      stream.on("error", () => {});
      stream.end(message(text));
      stream.close(8);
      await once(stream, "close");
    }
    equal((await call(session, [message("abc")])).code, 0);
  }));
