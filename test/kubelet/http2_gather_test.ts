import { deepEqual, equal, ok } from "@std/assert";
import { Buffer } from "node:buffer";
import { EventEmitter, once } from "node:events";
import type { Socket } from "node:net";
import { gatherFrames } from "../../src/kubelet/http2_gather.ts";
import { FLAG, frame, TYPE } from "../support/raw_http2.ts";

const HEAD = frame(TYPE.headers, FLAG.endHeaders, 1, Buffer.from("head"));
const DATA = frame(TYPE.data, FLAG.none, 1, Buffer.from("data"));
const TRAILERS = frame(TYPE.headers, FLAG.endHeaders | FLAG.endStream, 1, Buffer.from("trailers"));

/** What reaches the socket, and the end of it. */
class FakeSocket extends EventEmitter {
  readonly said: Buffer[] = [];
  writableNeedDrain = false;
  write(bytes: Buffer): boolean {
    this.said.push(Buffer.from(bytes));
    this.emit("said");
    return true;
  }
  end = () => this.said.push(Buffer.from("end"));
  destroy = () => this.said.push(Buffer.from("destroy"));
  destroySoon = () => this.said.push(Buffer.from("soon"));
}

function gathered(): FakeSocket {
  const socket = new FakeSocket();
  gatherFrames(socket as unknown as Socket);
  return socket;
}

Deno.test("an answer is one write, although its trailers come a turn later", async () => {
  const socket = gathered();
  socket.write(HEAD);
  setImmediate(() => socket.write(TRAILERS));
  socket.write(DATA);
  await once(socket, "said");
  deepEqual(socket.said, [Buffer.concat([HEAD, DATA, TRAILERS])]);
});

Deno.test("a stream that goes on is written after a turn, and again", async () => {
  const socket = gathered();
  for (const _ of [1, 2]) {
    socket.write(HEAD);
    socket.write(DATA);
    equal(socket.said.splice(0).length, 0);
    await once(socket, "said");
    deepEqual(socket.said.splice(0), [Buffer.concat([HEAD, DATA])]);
  }
});

Deno.test("what ends a stream, and what is large, goes out at once with all that waits", () => {
  const socket = gathered();
  socket.write(DATA);
  socket.write(TRAILERS);
  const large = frame(TYPE.data, FLAG.none, 1, Buffer.alloc(16_384));
  socket.write(HEAD);
  socket.write(large);
  deepEqual(socket.said, [Buffer.concat([DATA, TRAILERS]), Buffer.concat([HEAD, large])]);
});

Deno.test("nothing that was written before is left behind by whoever closes the socket", () => {
  for (const [name, last] of [["end", "end"], ["destroy", "destroy"], ["destroySoon", "soon"]] as const) {
    const socket = gathered();
    socket.write(DATA);
    socket[name]();
    deepEqual(socket.said, [DATA, Buffer.from(last)], name);
  }
});

Deno.test("write() says whether the socket is full", () => {
  const socket = gathered();
  ok(socket.write(DATA));
  socket.writableNeedDrain = true;
  equal(socket.write(DATA), false);
});
