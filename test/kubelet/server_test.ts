import { deepEqual, equal } from "@std/assert";
import { Buffer } from "node:buffer";
import { existsSync } from "node:fs";
import { join } from "node:path";
import { protoCodec } from "../../src/kubelet/codec.ts";
import { PluginServer } from "../../src/kubelet/server.ts";
import type { DeviceSource } from "../../src/kubelet/source.ts";
import { FLAG, frame, grpcHeaders, grpcMessage, RawConnection, TYPE } from "../support/raw_http2.ts";
import { temporaryDir, within } from "../support/temp.ts";

const codec = protoCodec();
const EVENTS = { onStreams: () => {}, onListSent: () => {}, onCall: () => {} };

/** A list of one device, and an Allocate that is answered when the test says so. */
function slowSource(list: Buffer = codec.list([{ id: "a", healthy: true, numaNodes: [] }])) {
  const asked = Promise.withResolvers<void>();
  const answer = Promise.withResolvers<Buffer>();
  const source: DeviceSource = {
    resource: "example.com/rdma",
    list: () => list,
    subscribe: () => () => {},
    allocate: () => {
      asked.resolve();
      return answer.promise;
    },
    prefer: () => codec.preferredResponse([]),
  };
  return { source, asked: asked.promise, answer: (bytes: Buffer) => answer.resolve(bytes) };
}

/** Makes a call with an empty request. */
function call(connection: RawConnection, stream: number, method: string): void {
  connection.say(
    frame(TYPE.headers, FLAG.endHeaders, stream, grpcHeaders(`/v1beta1.DevicePlugin/${method}`)),
    frame(TYPE.data, FLAG.endStream, stream, grpcMessage(new Uint8Array())),
  );
}

/** The bytes of a stream's DATA, and whether it was ended with trailers. */
function answer(connection: RawConnection, stream: number) {
  const frames = connection.frames.filter((one) => one.stream === stream);
  return {
    data: Buffer.concat(frames.filter((one) => one.type === TYPE.data).map((one) => one.payload)),
    trailers: frames.some((one) => one.type === TYPE.headers && (one.flags & FLAG.endStream) !== 0),
  };
}

Deno.test("PluginServer.close() lets a call in flight have its answer, ends the streams, and leaves the kubelet to hang up", async () => {
  using dir = temporaryDir();
  const path = join(dir.path, "one.sock");
  const { source, asked, answer: say } = slowSource();
  const server = await PluginServer.listen(path, source, EVENTS);
  using connection = await RawConnection.speaking(path);
  call(connection, 1, "ListAndWatch");
  call(connection, 3, "Allocate");
  await within(asked, "the call");
  const closed = server.close(5_000);
  equal(existsSync(path), false, "no one else can come");
  await connection.next((one) => one.stream === 1 && (one.flags & FLAG.endStream) !== 0, "the stream's end");
  say(codec.allocateResponse([]));
  await connection.next((one) => one.stream === 3 && (one.flags & FLAG.endStream) !== 0, "the answer's end");
  deepEqual(answer(connection, 1), { data: grpcMessage(source.list()), trailers: true });
  deepEqual(answer(connection, 3), { data: grpcMessage(codec.allocateResponse([])), trailers: true });
  deepEqual(connection.frames.filter((one) => one.type === TYPE.goaway), []);
  connection[Symbol.dispose]();
  await within(closed, "the server's end");
});

Deno.test("PluginServer.close() waits no longer than it is told for an answer, and hangs up on those who do not", async () => {
  using dir = temporaryDir();
  const path = join(dir.path, "one.sock");
  const { source, asked, answer: say } = slowSource();
  const server = await PluginServer.listen(path, source, EVENTS);
  using connection = await RawConnection.speaking(path);
  using silent = await RawConnection.open(path);
  call(connection, 1, "Allocate");
  await within(asked, "the call");
  await within(server.close(50), "the server's end");
  await within(connection.ended, "the connection's end");
  await within(silent.ended, "the silent connection's end");
  deepEqual(answer(connection, 1), { data: Buffer.alloc(0), trailers: false });
  say(codec.allocateResponse([]));
});
