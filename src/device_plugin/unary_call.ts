/**
 * The shortest way through a gRPC call: one request and one answer, both bytes, straight on the HTTP/2 stream. The
 * library makes for each call an object of metadata, a decoder, a queue and two promises, which takes as long as
 * everything else together.
 *
 * Only calls as a kubelet makes them go this way. Whatever has a deadline, a compressed message or a content type of
 * its own is left to the library, and so is every method that is not named here.
 *
 * @module
 */
import { Buffer } from "node:buffer";
import type { IncomingHttpHeaders, ServerHttp2Stream } from "node:http2";
import { type Server, status } from "@grpc/grpc-js";

/** The bytes of the answer. @throws what {@link Methods.refusal} has a status for */
export type Answer = (request: Buffer) => Buffer | Promise<Buffer>;

/** What is answered this way. */
export interface Methods {
  /** By the path of the call: "/v1beta1.DevicePlugin/Allocate". */
  readonly answers: ReadonlyMap<string, Answer>;
  /** What a thrown error is to the peer. */
  readonly refusal: (error: unknown) => Refusal;
  /** A call was answered or refused. */
  readonly onCall: (path: string, seconds: number, refused: Refusal | null) => void;
}

export interface Refusal {
  readonly code: keyof typeof status;
  readonly message: string;
}

/** Bytes before each message: whether it is compressed, and how long it is. */
const PREFIX = 5;
/** As the library has it for what it receives. */
const LONGEST = 4 * 1024 * 1024;

const HEADERS = { ":status": 200, "content-type": "application/grpc+proto" } as const;
const FINE = { "grpc-status": "0", "grpc-message": "OK" } as const;

type General = (this: Server, interceptors: unknown, stream: ServerHttp2Stream, headers: IncomingHttpHeaders) => void;

/** Makes the server answer these methods the short way. To be called before it listens. */
export function answerDirectly(server: Server, methods: Methods): void {
  // Where the library takes a stream over. Should a later release call it otherwise, every call goes the long way.
  const general = Reflect.get(server, "_streamHandler") as General | undefined;
  if (general === undefined) return;
  const direct: General = function (interceptors, stream, headers) {
    const path = headers[":path"] as string;
    const answer = methods.answers.get(path);
    if (answer === undefined || !isPlain(headers)) general.call(this, interceptors, stream, headers);
    else new UnaryCall(stream, path, answer, methods);
  };
  Reflect.set(server, "_streamHandler", direct);
}

function isPlain(headers: IncomingHttpHeaders): boolean {
  const type = headers["content-type"];
  return (type === "application/grpc" || type === "application/grpc+proto") &&
    headers["grpc-timeout"] === undefined &&
    (headers["grpc-encoding"] ?? "identity") === "identity";
}

/** One call on its stream. */
class UnaryCall {
  readonly #stream: ServerHttp2Stream;
  readonly #path: string;
  readonly #answer: Answer;
  readonly #methods: Methods;
  readonly #begin = performance.now();
  #received: Buffer[] = [];
  #length = 0;
  #over = false;

  constructor(stream: ServerHttp2Stream, path: string, answer: Answer, methods: Methods) {
    this.#stream = stream;
    this.#path = path;
    this.#answer = answer;
    this.#methods = methods;
    // Nothing can be done about a stream that breaks; without a listener it would be the end of the process.
    stream.on("error", () => this.#over = true);
    stream.on("data", (chunk: Buffer) => this.#take(chunk));
    stream.on("end", () => this.#serve());
  }

  #take(chunk: Buffer): void {
    if (this.#over) return;
    this.#received.push(chunk);
    this.#length += chunk.length;
    if (this.#length > PREFIX + LONGEST) {
      this.#end("RESOURCE_EXHAUSTED", `Received message larger than max (${LONGEST} bytes)`);
    }
  }

  /** The request is complete. What is no single message is refused as the library does it, without a log line. */
  #serve(): void {
    if (this.#over) return;
    const bytes = this.#received.length === 1 ? this.#received[0]! : Buffer.concat(this.#received, this.#length);
    if (bytes.length < PREFIX || bytes.length !== PREFIX + bytes.readUInt32BE(1)) {
      return this.#end("INTERNAL", "There must be exactly one message in the request");
    }
    if (bytes[0] !== 0) return this.#end("INTERNAL", "The message is compressed, but its headers do not say how");
    try {
      const answer = this.#answer(bytes.subarray(PREFIX));
      // What is known goes out in the same turn of the event loop: a promise would make the kubelet wait for another.
      if (answer instanceof Promise) answer.then((later) => this.#send(later), (error) => this.#refuse(error));
      else this.#send(answer);
    } catch (error) {
      this.#refuse(error);
    }
  }

  #send(answer: Buffer): void {
    const stream = this.#stream;
    if (!this.#over && !stream.destroyed && !stream.closed) {
      this.#over = true;
      const message = Buffer.allocUnsafe(PREFIX + answer.length);
      message[0] = 0;
      message.writeUInt32BE(answer.length, 1);
      answer.copy(message, PREFIX);
      stream.respond(HEADERS, { waitForTrailers: true });
      stream.on("wantTrailers", () => stream.sendTrailers(FINE));
      stream.end(message);
    }
    this.#methods.onCall(this.#path, this.#seconds, null);
  }

  #refuse(error: unknown): void {
    const refused = this.#methods.refusal(error);
    this.#end(refused.code, refused.message);
    this.#methods.onCall(this.#path, this.#seconds, refused);
  }

  /** A status without a message. */
  #end(code: Refusal["code"], message: string): void {
    const stream = this.#stream;
    this.#received = [];
    if (!this.#over && !stream.destroyed && !stream.closed) {
      const trailers = { ...HEADERS, "grpc-status": String(status[code]), "grpc-message": encodeURI(message) };
      stream.respond(trailers, { endStream: true });
    }
    this.#over = true;
  }

  get #seconds(): number {
    return (performance.now() - this.#begin) / 1e3;
  }
}
