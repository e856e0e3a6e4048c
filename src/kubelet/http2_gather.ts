/**
 * Puts the HTTP/2 frames of one answer into one write.
 *
 * The runtime writes each frame to the socket by itself: headers, message and trailers of an answer are three system
 * calls, and the kubelet wakes up for each of them. Here they wait for each other. What ends a stream goes out at once
 * and takes along whatever waits; everything else goes after a turn of the event loop, time enough for the trailers,
 * which the runtime makes one turn after the message.
 *
 * How much may wait does not change: the peer's flow-control window bounds what the runtime hands over, as before.
 *
 * @module
 */
import { Buffer } from "node:buffer";
import type { Socket } from "node:net";

/** Fourth byte of a frame. RFC 9113, 6.2. */
const HEADERS = 1;
/** Fifth byte of a frame that is the last of its stream. */
const END_STREAM = 1;
/** So many bytes are not held back: copying them would cost more than a write. */
const LARGE = 16_384;

/** Gathers from now on what is written to the socket of an HTTP/2 session, which writes whole frames. */
export function gatherFrames(socket: Socket): void {
  const write = socket.write.bind(socket);
  let waiting: Uint8Array[] = [];
  let bytes = 0;
  let scheduled = false;

  const flush = () => {
    if (waiting.length === 0) return;
    const frames = waiting.length === 1 ? waiting[0]! : Buffer.concat(waiting, bytes);
    waiting = [];
    bytes = 0;
    write(frames);
  };
  const atTheEndOfTheTurn = () => {
    scheduled = false;
    flush();
  };
  // The first of two turns: the trailers are created by a callback like this one that was queued after it.
  const nextTurn = () => {
    if (waiting.length > 0) setImmediate(atTheEndOfTheTurn);
    else scheduled = false;
  };

  socket.write = ((frame: Uint8Array) => {
    waiting.push(frame);
    bytes += frame.length;
    if ((frame[3] === HEADERS && (frame[4]! & END_STREAM) !== 0) || bytes >= LARGE) {
      flush();
    } else if (!scheduled) {
      scheduled = true;
      setImmediate(nextTurn);
    }
    return !socket.writableNeedDrain;
  }) as Socket["write"];
  // Data written before the socket is closed must not be lost.
  for (const name of ["end", "destroy", "destroySoon"] as const) {
    const close = socket[name].bind(socket) as (...args: unknown[]) => Socket;
    Reflect.set(socket, name, (...args: unknown[]) => {
      flush();
      return close(...args);
    });
  }
}
