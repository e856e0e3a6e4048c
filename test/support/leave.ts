/**
 * Clients of the plugin's socket that follow the list, make calls, and leave in one of ten manners. Each manner is what
 * some client does: one that is stopped, one that is killed, one that says GOAWAY with its streams open or reset.
 *
 * @module
 */
import { Buffer } from "node:buffer";
import { FLAG, frame, grpcHeaders, grpcMessage, RawConnection, TYPE } from "./raw_http2.ts";

const SERVICE = "/v1beta1.DevicePlugin";
/** The stream of the list; calls have the odd numbers after it. */
const LIST = 1;
const CANCEL = Buffer.from("00000008", "hex");

const goaway = frame(TYPE.goaway, FLAG.none, 0, Buffer.alloc(8));
const goawayWithError = frame(TYPE.goaway, FLAG.none, 0, Buffer.from("0000000000000002", "hex"));
const reset = (stream: number) => frame(TYPE.rstStream, FLAG.none, stream, CANCEL);

/** The frames of a call; without its end, the server goes on waiting for the message. */
function call(method: string, stream: number, message: Uint8Array = Buffer.alloc(0), whole = true): Buffer {
  return Buffer.concat([
    frame(TYPE.headers, FLAG.endHeaders, stream, grpcHeaders(`${SERVICE}/${method}`)),
    frame(TYPE.data, whole ? FLAG.endStream : FLAG.none, stream, grpcMessage(message)),
  ]);
}

/** Waits until the server has read what was said before. */
async function read(connection: RawConnection): Promise<void> {
  if (await connection.settled() === "hung up") {
    throw new Error("the server hung up on a client that follows the rules");
  }
}

/** What each manner says at the end, with the list open on stream 1 and the calls 3 and 5 answered. */
const MANNERS = {
  "reset, GOAWAY": async (connection) => {
    await connection.tell(reset(LIST));
    await read(connection);
    await connection.tell(goaway);
  },
  "reset, GOAWAY with an error": async (connection) => {
    await connection.tell(reset(LIST));
    await read(connection);
    await connection.tell(goawayWithError);
  },
  "reset and GOAWAY at once": (connection) => connection.tell(reset(LIST), goaway),
  "reset": (connection) => connection.tell(reset(LIST)),
  "GOAWAY": (connection) => connection.tell(goaway),
  "GOAWAY, and stays until the server hangs up": async (connection) => {
    await connection.tell(goaway, reset(LIST));
    await connection.ended;
  },
  "a call, reset and GOAWAY at once": (connection) =>
    connection.tell(call("GetDevicePluginOptions", 7), reset(LIST), goaway),
  "a call, both reset": (connection) => connection.tell(call("GetDevicePluginOptions", 7), reset(LIST), reset(7)),
  "half a call, GOAWAY": (connection) => connection.tell(call("GetDevicePluginOptions", 7, undefined, false), goaway),
  "nothing": () => Promise.resolve(),
} satisfies Record<string, (connection: RawConnection) => Promise<void>>;

export type Manner = keyof typeof MANNERS;

export const ALL_MANNERS = Object.keys(MANNERS) as readonly Manner[];

/** A client that asks for the list and never gives the server room for more than the first 64 KiB. */
export async function openList(socket: string): Promise<RawConnection> {
  const connection = await RawConnection.speaking(socket);
  await connection.tell(call("ListAndWatch", LIST));
  await connection.next((one) => one.type === TYPE.data && one.stream === LIST, "the list");
  return connection;
}

/** One client: connects, gets the list and two answers, leaves. @throws when the server does not answer it */
export async function leave(socket: string, manner: Manner): Promise<void> {
  using connection = await openList(socket);
  for (const stream of [3, 5]) {
    await connection.tell(call("GetDevicePluginOptions", stream));
    await connection.next((one) => one.stream === stream && (one.flags & FLAG.endStream) !== 0, "an answer");
  }
  await MANNERS[manner](connection);
}

/** So many clients of one manner, `lanes` at a time. */
export async function leaveOften(socket: string, manner: Manner, count: number, lanes = 1): Promise<void> {
  let left = count;
  const lane = async () => {
    while (left-- > 0) await leave(socket, manner);
  };
  await Promise.all(Array.from({ length: lanes }, lane));
}
