/**
 * Faults on the plugin's socket: bytes that are no HTTP/2, frames that no client sends, and floods. Whoever can connect
 * there is root; what is shown is that such a client takes no devices away by accident.
 *
 * @module
 */
import { deepEqual, equal, ok } from "@std/assert";
import { Buffer } from "node:buffer";
import {
  FLAG,
  frame,
  grpcHeaders,
  grpcMessage,
  hpack,
  PREFACE,
  RawConnection,
  settings,
  TYPE,
} from "../support/raw_http2.ts";
import { eventually } from "../support/eventually.ts";
import { type Fault } from "./fault.ts";
import { memoryOf } from "../support/process_figures.ts";
import { ALL_MANNERS, leaveOften } from "../support/leave.ts";
import type { OnHost } from "../support/plugin.ts";
import { startIn } from "../support/wrapped.ts";
import { type Scene, underFault } from "./under_fault.ts";

export const SERVICE = "/v1beta1.DevicePlugin";
export const ALLOCATE = `${SERVICE}/Allocate`;

/** AllocateRequest for one container with mlx5_0. */
export const REQUEST = Buffer.from("0a080a066d6c78355f30", "hex");

/** What strangers say on the socket is no matter for the log. */
export const SILENT = { lines: 0 };

/** MiB that a flood may leave in the process; what it sends is many times that. */
const MOST_MEMORY = 64;

/** Whoever uses memory after it was freed finds a pattern there, and crashes at once instead of some day. */
function withPerturbedMemory(place: OnHost, flags: readonly string[]) {
  return startIn(["env", "MALLOC_PERTURB_=165"], place, flags);
}

/** One well-formed Allocate on a stream. */
function call(stream: number): Buffer {
  return Buffer.concat([
    frame(TYPE.headers, FLAG.endHeaders, stream, grpcHeaders(ALLOCATE)),
    frame(TYPE.data, FLAG.endStream, stream, grpcMessage(REQUEST)),
  ]);
}

/** The same bytes for the same seed (mulberry32). */
function random(seed: number): (bytes: number) => Buffer {
  let state = seed;
  const next = () => {
    state = (state + 0x6d2b79f5) | 0;
    let t = Math.imul(state ^ (state >>> 15), 1 | state);
    t = (t + Math.imul(t ^ (t >>> 7), 61 | t)) ^ t;
    return (t ^ (t >>> 14)) >>> 24;
  };
  return (bytes) => Buffer.from(Array.from({ length: bytes }, next));
}

/** Says these bytes on a connection of its own that spoke HTTP/2 before and had a call answered; then hangs up. */
async function after(socket: string, ...bytes: readonly Buffer[]): Promise<"answers" | "hung up"> {
  using connection = await RawConnection.speaking(socket);
  connection.say(call(1));
  await connection.next((one) => one.stream === 1 && (one.flags & FLAG.endStream) !== 0, "an answer");
  connection.say(...bytes);
  return await connection.settled();
}

/** Says batches of frames until the server hangs up or has had them all, without reading more than it must. */
async function flood(scene: Scene, batches: number, batch: () => readonly Buffer[], first: readonly Buffer[] = []) {
  using connection = await RawConnection.speaking(scene.socket);
  connection.say(...first);
  for (let i = 0; i < batches && !connection.over; i++) await connection.tell(...batch());
  // The node's own business goes on beside it.
  equal(await scene.allocate("mlx5_0"), "/dev/infiniband/uverbs0");
  equal(await connection.settled(), "hung up");
  await eventually(() => memoryOf(scene.plugin.pid).anonymous < MOST_MEMORY * 2, `less than ${MOST_MEMORY * 2} MiB`);
}

export const WIRE: readonly Fault[] = [
  {
    name: "However its clients leave, the plugin lives on",
    injected: `clients that follow the list, have two calls answered and leave: ${ALL_MANNERS.join("; ")}; of each ` +
      "20 in turns and 20 four at a time, with an allocator that overwrites what is freed (MALLOC_PERTURB_)",
    promise: "every client is answered, nothing that was freed is used, nothing of a client is left",
    run: () =>
      underFault({ ...SILENT, start: withPerturbedMemory }, async ({ socket }) => {
        for (const manner of ALL_MANNERS) {
          await leaveOften(socket, manner, 20);
          await leaveOften(socket, manner, 20, 4);
        }
      }),
  },
  {
    name: "Bytes that are no HTTP/2 end their own connection and nothing else",
    injected:
      "no preface, an HTTP/1 request, a TLS hello, and 40 times the preface with random bytes or frames (seeds)",
    promise: "the connection is closed, without a line in the log; the kubelet's stream and calls go on",
    run: () =>
      underFault(SILENT, async ({ socket }) => {
        const openers = [
          random(1)(1_000),
          Buffer.from("GET /metrics HTTP/1.1\r\nHost: localhost\r\n\r\n"),
          Buffer.from("16030100c8010000c40303" + "00".repeat(200), "hex"),
          PREFACE.subarray(0, 20),
        ];
        for (const bytes of openers.slice(0, 3)) {
          using connection = await RawConnection.open(socket);
          connection.say(bytes);
          await connection.ended;
        }
        for (let seed = 1; seed <= 40; seed++) {
          const bytes = random(seed);
          using connection = await RawConnection.open(socket);
          // Half of them garbage as it comes, the other half in whole frames, so that it gets past the framing.
          connection.say(
            PREFACE,
            settings(),
            ...seed % 2 === 0 ? [bytes(500)] : frames(bytes, 30),
            Buffer.alloc(70_000),
          );
          await connection.ended;
        }
        // One that stops within the preface waits for ever; it holds one file until it hangs up.
        using half = await RawConnection.open(socket);
        half.say(openers[3]!);
        equal(half.over, false);
      }),
  },
  {
    name: "Absurd SETTINGS are refused or followed, and harm their own connection only",
    injected:
      "SETTINGS with the greatest and least values, unknown ones, of a wrong length, on a stream, 100,000 of them",
    promise: "the connection is closed or goes on by RFC 9113; the kubelet's stream and calls go on",
    run: () =>
      underFault(SILENT, async (scene) => {
        const greatest = 0xffff_ffff;
        const fates: string[] = [];
        for (
          const pair of [[1, greatest], [2, 7], [3, 0], [4, 0], [4, greatest], [5, 1], [5, greatest], [6, 0], [
            greatest % 65_536,
            greatest,
          ]] as const
        ) fates.push(`${pair[0]}=${pair[1]}: ${await after(scene.socket, settings(pair))}`);
        deepEqual(fates, [
          `1=${greatest}: answers`,
          "2=7: hung up",
          "3=0: answers",
          "4=0: answers",
          `4=${greatest}: hung up`,
          "5=1: hung up",
          `5=${greatest}: hung up`,
          "6=0: answers",
          `65535=${greatest}: answers`,
        ]);
        equal(await after(scene.socket, frame(TYPE.settings, FLAG.none, 0, Buffer.alloc(7))), "hung up");
        equal(await after(scene.socket, frame(TYPE.settings, FLAG.ack, 0, Buffer.alloc(6))), "hung up");
        equal(await after(scene.socket, frame(TYPE.settings, FLAG.none, 3, Buffer.alloc(6))), "hung up");
        await flood(scene, 100, () => Array.from({ length: 1_000 }, () => settings([3, 100])));
      }),
  },
  {
    name: "Frames where none may be end their own connection only",
    injected:
      "DATA, HEADERS and RST_STREAM on stream 0, on even and on idle streams, WINDOW_UPDATE of 0 and past 2^31, " +
      "PUSH_PROMISE, a GOAWAY, padding longer than its frame, frames of 20,000 bytes and lengths that lie, after a call",
    promise: "the connection is closed; the kubelet's stream and calls go on",
    run: () =>
      underFault(SILENT, async ({ socket }) => {
        const headers = grpcHeaders(ALLOCATE);
        const ends: Record<string, Buffer> = {
          "DATA on stream 0": frame(TYPE.data, FLAG.none, 0, Buffer.from("hello")),
          "HEADERS on stream 0": frame(TYPE.headers, FLAG.endHeaders, 0, headers),
          "HEADERS on an even stream": frame(TYPE.headers, FLAG.endHeaders, 4, headers),
          "RST_STREAM of a stream that never was": frame(TYPE.rstStream, FLAG.none, 99, Buffer.alloc(4)),
          "RST_STREAM of three bytes": frame(TYPE.rstStream, FLAG.none, 1, Buffer.alloc(3)),
          "WINDOW_UPDATE of 0": frame(TYPE.windowUpdate, FLAG.none, 0, Buffer.alloc(4)),
          "WINDOW_UPDATE past the greatest": Buffer.concat(
            [1, 2].map(() => frame(TYPE.windowUpdate, FLAG.none, 0, Buffer.from("7fffffff", "hex"))),
          ),
          "PUSH_PROMISE by a client": frame(TYPE.pushPromise, FLAG.endHeaders, 1, Buffer.from("00000002", "hex")),
          "CONTINUATION of nothing": frame(TYPE.continuation, FLAG.endHeaders, 3, headers),
          "HEADERS left open": Buffer.concat([frame(TYPE.headers, FLAG.none, 3, headers), call(5)]),
          "padding longer than its frame": frame(
            TYPE.headers,
            FLAG.endHeaders | FLAG.padded,
            3,
            Buffer.from([9, 1, 2]),
          ),
          "PING of seven bytes": frame(TYPE.ping, FLAG.none, 0, Buffer.alloc(7)),
          "GOAWAY": frame(TYPE.goaway, FLAG.none, 0, Buffer.alloc(8)),
          "a frame of 20,000 bytes": Buffer.concat([
            frame(TYPE.headers, FLAG.endHeaders, 3, headers),
            frame(TYPE.data, FLAG.none, 3, Buffer.alloc(20_000)),
          ]),
          "a length of 16 MiB that lies": frame(TYPE.data, FLAG.none, 1, Buffer.alloc(3), 0xff_ffff),
        };
        const fates = Object.entries(ends).map(async ([what, bytes]) => `${what}: ${await after(socket, bytes)}`);
        deepEqual(await Promise.all(fates), Object.keys(ends).map((what) => `${what}: hung up`));
      }),
  },
  {
    name: "Broken HPACK and header bombs end their own connection only",
    injected: "indexes that are not there, integers without end, wrong Huffman codes, a table of 4 GiB; " +
      "and 16,000 references to one header of 4,000 bytes in one frame",
    promise: "the connection is closed before memory is spent; the kubelet's stream and calls go on",
    run: () =>
      underFault(SILENT, async ({ socket, plugin }) => {
        const blocks = ["ff", "80", "bfffffffffff0f", "00850102030405", "3fffffffff0f", "00ff80808080808080"];
        for (const block of blocks) {
          const bytes = frame(TYPE.headers, FLAG.endHeaders | FLAG.endStream, 3, Buffer.from(block, "hex"));
          equal(await after(socket, bytes), "hung up", block);
        }
        // 0x40: a literal that goes into the dynamic table, where 0xbe then finds it.
        const entry = Buffer.concat([Buffer.from([0x40]), hpack([["x", "y".repeat(4_000)]]).subarray(1)]);
        const bomb = Buffer.concat([grpcHeaders(ALLOCATE), entry, Buffer.alloc(12_000, 0xbe)]);
        using connection = await RawConnection.speaking(socket);
        for (let stream = 1; stream < 40; stream += 2) {
          await connection.tell(frame(TYPE.headers, FLAG.endHeaders, stream, bomb));
        }
        await connection.settled();
        ok(memoryOf(plugin.pid).anonymous < 2 * MOST_MEMORY, `${memoryOf(plugin.pid).anonymous} MiB`);
      }),
  },
  {
    name: "A flood of CONTINUATION frames is cut off",
    injected: "HEADERS that never end: 20,000 CONTINUATION frames of 1,000 bytes, and 50,000 empty ones",
    promise: "the connection is closed; memory stays bounded; Allocate is answered meanwhile",
    run: () =>
      underFault(SILENT, async (scene) => {
        const open = [frame(TYPE.headers, FLAG.endStream, 1, grpcHeaders(ALLOCATE))];
        const more = hpack([["a", "b".repeat(990)]]);
        await flood(scene, 200, () => Array.from({ length: 100 }, () => frame(TYPE.continuation, 0, 1, more)), open);
        await flood(scene, 50, () => Array.from({ length: 1_000 }, () => frame(TYPE.continuation, 0, 1)), open);
      }),
  },
  {
    name: "Streams that are reset as fast as they are opened are cut off",
    injected: "20,000 Allocates, each reset at once, by RST_STREAM (rapid reset) or by making the server reset them " +
      "(WINDOW_UPDATE of 0)",
    promise: "the connection is closed; memory stays bounded; the kubelet's Allocate is answered meanwhile",
    run: () =>
      underFault(SILENT, async (scene) => {
        for (const [type, payload] of [[TYPE.rstStream, "00000008"], [TYPE.windowUpdate, "00000000"]] as const) {
          let stream = -1;
          const reset = () => {
            stream += 2;
            return Buffer.concat([call(stream), frame(type, FLAG.none, stream, Buffer.from(payload, "hex"))]);
          };
          await flood(scene, 100, () => Array.from({ length: 200 }, reset));
        }
      }),
  },
  {
    name: "A flood of PINGs is cut off",
    injected: "100,000 PINGs at once",
    promise: "the connection is closed when its answers pile up; the kubelet's Allocate is answered meanwhile",
    run: () =>
      underFault(
        SILENT,
        (scene) =>
          flood(scene, 100, () => Array.from({ length: 1_000 }, () => frame(TYPE.ping, 0, 0, Buffer.alloc(8)))),
      ),
  },
];

/** Whole frames of random type, flags, stream and content, and lengths that are right. */
function frames(bytes: (count: number) => Buffer, count: number): readonly Buffer[] {
  return Array.from({ length: count }, () => {
    const [type = 0, flags = 0, stream = 0, length = 0] = bytes(4);
    return frame(type % 11, flags, stream % 8, bytes(length % 50));
  });
}
