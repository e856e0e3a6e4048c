/**
 * Faults in requests: bytes that are none, requests that are too large, and methods that do not exist. Whoever can
 * connect to the socket is root; what is shown is that such a client takes no devices away by accident.
 *
 * @module
 */
import { deepEqual, equal, match, ok } from "@std/assert";
import { Buffer } from "node:buffer";
import { status } from "@grpc/grpc-js";
import { RESOURCE } from "../support/kubelet.ts";
import { FLAG, frame, grpcHeaders, hpack, RawConnection, TYPE } from "../support/raw_http2.ts";
import { BareClient, type Reply } from "../support/bare_client.ts";
import { eventually } from "../support/eventually.ts";
import type { Fault } from "./fault.ts";
import { memoryOf } from "../support/process_figures.ts";
import { underFault } from "./under_fault.ts";
import { ALLOCATE, REQUEST, SERVICE, SILENT } from "./wire.ts";

/** The name of a status. */
const codeOf = (reply: Reply) => reply.ok ? "OK" : status[reply.code]!;

/** A request with this many container requests, or one container with these IDs. */
const containers = (count: number) => Buffer.concat(Array.from({ length: count }, () => REQUEST));
const oneContainer = (ids: readonly string[]) => field(ids.map((id) => field([Buffer.from(id)])));

/** Field 1 with these bytes in it. */
function field(parts: readonly Buffer[]): Buffer {
  const bytes = Buffer.concat(parts);
  const length: number[] = [];
  for (let rest = bytes.length;; rest = Math.floor(rest / 128)) {
    if (rest < 128) return Buffer.concat([Buffer.from([0x0a, ...length, rest]), bytes]);
    length.push(rest % 128 + 128);
  }
}

/** Bytes that are no request, and the status that they get. A field that nobody knows is no mistake in protobuf. */
const MALFORMED: readonly { readonly what: string; readonly bytes: string; readonly code: string }[] = [
  { what: "cut short within an ID", bytes: "0a080a066d", code: "INVALID_ARGUMENT" },
  { what: "a length of 4 GiB", bytes: "0affffffff0f", code: "INVALID_ARGUMENT" },
  { what: "a number where a message belongs", bytes: "0801", code: "INVALID_ARGUMENT" },
  { what: "a group where a message belongs", bytes: "0b0a01610c", code: "INVALID_ARGUMENT" },
  { what: "a group that never ends", bytes: "13", code: "INVALID_ARGUMENT" },
  { what: "groups in groups, 5,000 deep", bytes: "13".repeat(5_000), code: "INVALID_ARGUMENT" },
  { what: "the end of a group that never began", bytes: "0c", code: "INVALID_ARGUMENT" },
  { what: "wire type 7", bytes: "0f", code: "INVALID_ARGUMENT" },
  { what: "a length of 20 bytes", bytes: `0a${"ff".repeat(20)}`, code: "INVALID_ARGUMENT" },
  { what: "an unknown field with a number of 21 bytes", bytes: `10${"80".repeat(20)}00`, code: "OK" },
  { what: "field number 0", bytes: "0200", code: "OK" },
];

export const REQUESTS: readonly Fault[] = [
  {
    name: "Bytes that are no request are refused in a sentence",
    injected:
      "protobuf cut short, with wrong wire types, groups, deep nesting and over-long integers, as Allocate and " +
      "GetPreferredAllocation; gRPC frames whose length lies, or that say they are compressed",
    promise: "INVALID_ARGUMENT with a sentence, and one line in the log for each; nothing is allocated",
    run: () =>
      underFault({ lines: 2 * MALFORMED.length }, async ({ socket, said }) => {
        using client = new BareClient(socket);
        let refused = 0;
        for (const method of ["Allocate", "GetPreferredAllocation"]) {
          for (const { what, bytes, code } of MALFORMED) {
            const reply = await client.call(method, Buffer.from(bytes, "hex"));
            equal(codeOf(reply), code, `${method}: ${what}`);
            if (reply.ok) continue;
            match(reply.message, /^The request is not a valid \w+Request: /);
            refused++;
          }
        }
        const lines = () => said().filter((line) => /WARN {2}\w+ refused: The request is not a valid/.test(line));
        await eventually(() => lines().length === refused, "a line for each refusal");
        for (const message of ["000000000a0a", "00ffffffff", "010000000107", "0000", "00000000000000000000"]) {
          using connection = await RawConnection.speaking(socket);
          connection.say(
            frame(TYPE.headers, FLAG.endHeaders, 1, grpcHeaders(ALLOCATE)),
            frame(TYPE.data, FLAG.endStream, 1, Buffer.from(message, "hex")),
          );
          await connection.settled();
        }
      }),
  },
  {
    name: "Requests that are too large are refused before anything is made of them",
    injected:
      "an Allocate of 5 MiB; one with 100,000 IDs; 1,000,000 empty container requests (2 MB); 100,000 of one ID",
    promise:
      "RESOURCE_EXHAUSTED above 4 MiB or 256 containers, an unknown ID is reported as such; memory stays bounded",
    run: () =>
      underFault({ lines: 5 }, async ({ socket, plugin, said }) => {
        using client = new BareClient(socket);
        const ids = Array.from({ length: 100_000 }, (_, i) => `mlx5_${i}`);
        const empty = Buffer.from("0a00".repeat(1_000_000), "hex");
        const codes: string[] = [];
        for (const method of ["Allocate", "GetPreferredAllocation"]) {
          for (const bytes of [Buffer.alloc(5 << 20), oneContainer(ids), empty, containers(100_000)]) {
            codes.push(codeOf(await client.call(method, bytes)));
          }
        }
        const [large, unknown, many] = ["RESOURCE_EXHAUSTED", "INVALID_ARGUMENT", "RESOURCE_EXHAUSTED"];
        deepEqual(codes, [large, unknown, many, many, large, "OK", many, many]);
        await eventually(() => said().length === 5, "a line for each that got as far as the plugin");
        ok(said().every((line) => line.length < 400), said().join("\n"));
        ok(memoryOf(plugin.pid).anonymous < 300, `${memoryOf(plugin.pid).anonymous} MiB`);
      }),
  },
  {
    name: "Methods that do not exist are refused as such",
    injected: "calls of unknown methods, of another service, of no path, and a GET",
    promise: "UNIMPLEMENTED, or the connection is closed; nothing is logged",
    run: () =>
      underFault(SILENT, async ({ socket, kubelet }) => {
        using client = new BareClient(socket);
        for (const path of [`${SERVICE}/Nope`, "/v1beta1.Registration/Register", "/", `${SERVICE}/`]) {
          equal(codeOf(await client.call(path, Buffer.alloc(0))), "UNIMPLEMENTED", path);
        }
        using connection = await RawConnection.speaking(socket);
        const get = hpack([[":method", "GET"], [":scheme", "http"], [":path", ALLOCATE], [":authority", "localhost"]]);
        connection.say(frame(TYPE.headers, FLAG.endHeaders | FLAG.endStream, 1, get));
        await connection.settled();
        equal(kubelet.state().resources[RESOURCE]?.lists, 1);
      }),
  },
];
