/**
 * The gRPC server of one resource on one unix socket: DevicePlugin v1beta1, and the watcher's Registration beside it
 * where the socket lies in plugins_registry.
 *
 * Messages go through as bytes; see {@link DeviceSource}.
 *
 * @module
 */
import { Buffer } from "node:buffer";
import {
  type handleUnaryCall,
  Server,
  ServerCredentials,
  type ServerWritableStream,
  type ServiceDefinition,
  status,
  type UntypedHandleCall,
} from "@grpc/grpc-js";
import { devicePluginServices } from "./api.ts";
import { checkSocketPath, type FileIdentity, moveIntoPlace, removeIfOurs, temporaryPath } from "./socket_file.ts";
import { type DeviceSource, RequestError } from "./source.ts";

/** A further service on the same socket. */
export interface ExtraService {
  readonly definition: ServiceDefinition;
  readonly handlers: Readonly<Record<string, UntypedHandleCall>>;
}

/** What happens on the server, for the session and for metrics. */
export interface ServerEvents {
  /** A ListAndWatch stream was opened or has ended; `open` are left. */
  onStreams(open: number): void;
  /** A list went out to a stream. */
  onListSent(bytes: number): void;
  /** A call was answered, or refused with a status and a sentence. `seconds` from its arrival. */
  onCall(method: string, seconds: number, refused: { code: string; message: string } | null): void;
}

type Stream = ServerWritableStream<Buffer, Buffer>;

const NOTHING = Buffer.alloc(0);

/** A listening server. */
export class PluginServer {
  readonly path: string;
  /** By this the session recognises that the file at {@link path} is still this server's. */
  readonly identity: FileIdentity;
  readonly #server: Server;
  readonly #streams: Set<Stream>;

  private constructor(server: Server, path: string, identity: FileIdentity, streams: Set<Stream>) {
    this.#server = server;
    this.path = path;
    this.identity = identity;
    this.#streams = streams;
  }

  /**
   * Listens. When this resolves the socket is in place and calls are answered: the kubelet dials back inside Register.
   *
   * @throws with a sentence when the path cannot be served on
   */
  static async listen(
    path: string,
    source: DeviceSource,
    events: ServerEvents,
    extra: ExtraService | null = null,
  ): Promise<PluginServer> {
    checkSocketPath(path);
    const streams = new Set<Stream>();
    const server = new Server({ "grpc.max_concurrent_streams": 1024 });
    server.addService(bytesOnly(devicePluginServices()["v1beta1.DevicePlugin"]), handlers(source, events, streams));
    if (extra !== null) server.addService(extra.definition, { ...extra.handlers });
    const bound = temporaryPath(path);
    try {
      await bind(server, bound);
      return new PluginServer(server, path, moveIntoPlace(bound, path), streams);
    } catch (error) {
      server.forceShutdown();
      throw error;
    }
  }

  /** Open ListAndWatch streams. */
  get streams(): number {
    return this.#streams.size;
  }

  /**
   * Ends the streams, lets calls in flight finish, and removes the socket if it is still this server's.
   *
   * @param graceMs after so many milliseconds calls that still run are cut off
   */
  async close(graceMs: number): Promise<void> {
    removeIfOurs(this.path, this.identity);
    for (const stream of this.#streams) stream.end();
    const drained = new Promise<true>((resolve) => this.#server.tryShutdown(() => resolve(true)));
    let timer: ReturnType<typeof setTimeout> | undefined;
    const late = new Promise<false>((resolve) => timer = setTimeout(() => resolve(false), graceMs));
    // The library sometimes never calls back when a peer closes its connection at the same moment, so the end of the
    // drain is waited for this once only.
    if (!await Promise.race([drained, late])) this.#server.forceShutdown();
    clearTimeout(timer);
  }
}

function bind(server: Server, path: string): Promise<void> {
  return new Promise((resolve, reject) => {
    server.bindAsync(`unix:${path}`, ServerCredentials.createInsecure(), (error) => {
      if (error === null) resolve();
      else {reject(
          new Error(`Cannot serve on a socket in ${path.replace(/[^/]*$/, "")}: ${error.message}`, { cause: error }),
        );}
    });
  });
}

/** The same service with messages left as bytes in both directions. */
function bytesOnly(service: ServiceDefinition): ServiceDefinition {
  const same = (bytes: Buffer) => bytes;
  return Object.fromEntries(
    Object.entries(service).map(([name, one]) => [name, {
      ...one,
      requestSerialize: same,
      requestDeserialize: same,
      responseSerialize: same,
      responseDeserialize: same,
    }]),
  );
}

/** DevicePluginOptions{get_preferred_allocation_available: true}: field 2, varint 1. */
const OPTIONS = Buffer.from([0x10, 0x01]);

function handlers(source: DeviceSource, events: ServerEvents, streams: Set<Stream>): Record<string, UntypedHandleCall> {
  const unary =
    (name: string, answer: (request: Buffer) => Buffer | Promise<Buffer>): handleUnaryCall<Buffer, Buffer> =>
    async (call, callback) => {
      const start = performance.now();
      try {
        const bytes = await answer(call.request);
        callback(null, bytes);
        events.onCall(name, (performance.now() - start) / 1e3, null);
      } catch (error) {
        const { code, message } = refusal(error);
        callback({ code: status[code], details: message });
        events.onCall(name, (performance.now() - start) / 1e3, { code, message });
      }
    };
  return {
    GetDevicePluginOptions: unary("GetDevicePluginOptions", () => OPTIONS),
    GetPreferredAllocation: unary("GetPreferredAllocation", (request) => source.prefer(request)),
    Allocate: unary("Allocate", (request) => source.allocate(request)),
    // Never asked for (pre_start_required is false), but answered: a kubelet that calls it means no harm.
    PreStartContainer: unary("PreStartContainer", () => NOTHING),
    ListAndWatch: (stream: Stream) => follow(stream, source, events, streams),
  };
}

function refusal(error: unknown): { code: RequestError["code"] | "INTERNAL"; message: string } {
  if (error instanceof RequestError) return { code: error.code, message: error.message };
  return { code: "INTERNAL", message: error instanceof Error ? error.message : String(error) };
}

/**
 * One list at once, then the latest after each change. A reader that does not read gets no queue: while the transport
 * is full nothing is written, and when it drains the list of that moment is.
 */
function follow(stream: Stream, source: DeviceSource, events: ServerEvents, streams: Set<Stream>): void {
  let sent: Buffer | null = null;
  let full = false;
  const send = () => {
    const list = source.list();
    if (full || list === sent || !streams.has(stream)) return;
    sent = list;
    full = !stream.write(list);
    events.onListSent(list.length);
  };
  const unsubscribe = source.subscribe(send);
  const end = () => {
    if (!streams.delete(stream)) return;
    unsubscribe();
    stream.end();
    events.onStreams(streams.size);
  };
  stream.on("drain", () => {
    full = false;
    send();
  });
  for (const event of ["cancelled", "close", "error", "finish"]) stream.on(event, end);
  streams.add(stream);
  events.onStreams(streams.size);
  send();
}
