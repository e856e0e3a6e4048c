/**
 * HTTP/2 by hand (RFC 9113), for saying what no library would: frames with any type, flags, stream and length on a unix
 * socket, and what comes back as frames. Nothing here checks anything.
 *
 * @module
 */
import { Buffer } from "node:buffer";
import { Waits } from "../../sim/waits.ts";

/** Frame types, RFC 9113 section 6. */
export const TYPE = {
  data: 0x0,
  headers: 0x1,
  priority: 0x2,
  rstStream: 0x3,
  settings: 0x4,
  pushPromise: 0x5,
  ping: 0x6,
  goaway: 0x7,
  windowUpdate: 0x8,
  continuation: 0x9,
} as const;

/** Frame flags; what each means depends on the type. */
export const FLAG = { none: 0x0, ack: 0x1, endStream: 0x1, endHeaders: 0x4, padded: 0x8, priority: 0x20 } as const;

/** What a client says first, before its SETTINGS. */
export const PREFACE: Buffer = Buffer.from("PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n", "latin1");

/** A frame that came. */
export interface Frame {
  readonly type: number;
  readonly flags: number;
  readonly stream: number;
  readonly payload: Buffer;
}

/** One frame's bytes. `length` stands in for the payload's own, for frames that lie. */
export function frame(
  type: number,
  flags: number,
  stream: number,
  payload: Uint8Array = new Uint8Array(),
  length = payload.length,
): Buffer {
  const head = Buffer.alloc(9);
  head.writeUIntBE(length, 0, 3);
  head.writeUInt8(type, 3);
  head.writeUInt8(flags, 4);
  head.writeUInt32BE(stream >>> 0, 5);
  return Buffer.concat([head, payload]);
}

/** SETTINGS with these pairs of identifier (16 bit) and value (32 bit). */
export function settings(...pairs: readonly (readonly [number, number])[]): Buffer {
  const payload = Buffer.alloc(pairs.length * 6);
  for (const [index, [id, value]] of pairs.entries()) {
    payload.writeUInt16BE(id, index * 6);
    payload.writeUInt32BE(value, index * 6 + 2);
  }
  return frame(TYPE.settings, FLAG.none, 0, payload);
}

/** HPACK (RFC 7541) without its compression: every header a literal that is not indexed and not Huffman-coded. */
export function hpack(headers: readonly (readonly [string, string])[]): Buffer {
  return Buffer.concat(headers.flatMap(([name, value]) => [Buffer.from([0x00]), literal(name), literal(value)]));
}

function literal(text: string): Buffer {
  const bytes = Buffer.from(text, "utf8");
  return Buffer.concat([prefixed(bytes.length, 7), bytes]);
}

/** An integer in HPACK: what fits into the prefix, and the rest in groups of seven bits. */
function prefixed(value: number, bits: number): Buffer {
  const most = 2 ** bits - 1;
  if (value < most) return Buffer.from([value]);
  const out = [most];
  for (let rest = value - most;; rest = Math.floor(rest / 128)) {
    if (rest < 128) return Buffer.from([...out, rest]);
    out.push(rest % 128 + 128);
  }
}

/** The header block of a gRPC call. */
export function grpcHeaders(path: string, more: readonly (readonly [string, string])[] = []): Buffer {
  return hpack([
    [":method", "POST"],
    [":scheme", "http"],
    [":path", path],
    [":authority", "localhost"],
    ["content-type", "application/grpc"],
    ["te", "trailers"],
    ...more,
  ]);
}

/** A gRPC message as it stands in DATA frames: not compressed, its length, itself. */
export function grpcMessage(bytes: Uint8Array): Buffer {
  const head = Buffer.alloc(5);
  head.writeUInt32BE(bytes.length, 1);
  return Buffer.concat([head, bytes]);
}

/** A connection on which nothing is said that the test does not say. Disposing it hangs up. */
export class RawConnection implements Disposable {
  /** The peer hung up, in whichever way. */
  readonly ended: Promise<void>;
  // Not node:net: the runtime keeps the descriptor of about one socket in a thousand that is destroyed while bytes arrive.
  readonly #connection: Deno.UnixConn;
  readonly #frames: Frame[] = [];
  readonly #waits = new Waits();
  #rest = Buffer.alloc(0);
  #over = false;
  #written: Promise<void> = Promise.resolve();

  private constructor(connection: Deno.UnixConn) {
    this.#connection = connection;
    this.ended = this.#read();
  }

  /** Connects, and says nothing yet. */
  static async open(path: string): Promise<RawConnection> {
    return new RawConnection(await Deno.connect({ transport: "unix", path }));
  }

  /** Connects and opens HTTP/2 as a well-behaved client does. */
  static async speaking(path: string): Promise<RawConnection> {
    const connection = await RawConnection.open(path);
    connection.say(PREFACE, settings());
    await connection.next((one) => one.type === TYPE.settings, "the server's SETTINGS");
    connection.say(frame(TYPE.settings, FLAG.ack, 0));
    return connection;
  }

  /** Every frame that came, oldest first. */
  get frames(): readonly Frame[] {
    return this.#frames;
  }

  /** Whether the peer has hung up. */
  get over(): boolean {
    return this.#over;
  }

  /** Says these bytes; what cannot be said any more is dropped. */
  say(...bytes: readonly Uint8Array[]): void {
    const all = Buffer.concat(bytes);
    this.#written = this.#written.then(async () => {
      for (let at = 0; at < all.length && !this.#over;) at += await this.#connection.write(all.subarray(at));
      // A peer that hangs up in the middle of what is being said (EPIPE, ECONNRESET) is one of the expected ends.
    }).catch(() => this.#hangUp());
  }

  /** As {@link say}, and waits until the kernel has taken them or the peer has hung up. */
  async tell(...bytes: readonly Uint8Array[]): Promise<void> {
    this.say(...bytes);
    await Promise.race([this.#written, this.ended]);
  }

  /** The first frame that is wanted, there already or still to come. Rejects when the peer hangs up before. */
  next(wanted: (frame: Frame) => boolean, what: string): Promise<Frame> {
    return this.#waits.until(() => this.#frames.find(wanted), what);
  }

  /** Whether the server answers a PING or has hung up: whatever was said before has then been read. */
  async settled(): Promise<"answers" | "hung up"> {
    const mark = Buffer.from(crypto.getRandomValues(new Uint8Array(8)));
    this.say(frame(TYPE.ping, FLAG.none, 0, mark));
    const answered = this.next(
      (one) => one.type === TYPE.ping && (one.flags & FLAG.ack) !== 0 && one.payload.equals(mark),
      "the answer to a PING",
    ).then(() => "answers" as const, (error: unknown) => {
      if (this.#over) return "hung up" as const;
      throw error;
    });
    return await answered;
  }

  [Symbol.dispose](): void {
    this.#hangUp();
  }

  #hangUp(): void {
    if (this.#over) return;
    this.#over = true;
    this.#connection.close();
    this.#waits.end("the server hung up");
  }

  async #read(): Promise<void> {
    try {
      const chunk = Buffer.alloc(65_536);
      for (let size; (size = await this.#connection.read(chunk)) !== null;) {
        this.#take(Buffer.from(chunk.subarray(0, size)));
      }
    } catch {
      // hung up, by one end or the other
    }
    this.#hangUp();
  }

  #take(chunk: Buffer): void {
    this.#rest = Buffer.concat([this.#rest, chunk]);
    while (this.#rest.length >= 9) {
      const length = this.#rest.readUIntBE(0, 3);
      if (this.#rest.length < 9 + length) break;
      this.#frames.push({
        type: this.#rest.readUInt8(3),
        flags: this.#rest.readUInt8(4),
        stream: this.#rest.readUInt32BE(5) & 0x7fff_ffff,
        payload: this.#rest.subarray(9, 9 + length),
      });
      this.#rest = this.#rest.subarray(9 + length);
    }
    this.#waits.changed();
  }
}
