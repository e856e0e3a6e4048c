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
  type ServerWritableStream,
  type ServiceDefinition,
  status,
  type UntypedHandleCall,
} from "@grpc/grpc-js";
import { devicePluginServices } from "../kubelet/api.ts";
import { bind } from "../kubelet/bind.ts";
import { checkContainers } from "./request_limits.ts";
import {
  checkSocketPath,
  type FileIdentity,
  moveIntoPlace,
  removeIfOurs,
  sweep,
  temporaryPath,
} from "../kubelet/socket_file.ts";
import { type DeviceSource, RequestError } from "./source.ts";
import { type Answer, answerDirectly, type Refusal } from "./unary_call.ts";

/** A further service on the same socket. */
export interface ExtraService {
  readonly definition: ServiceDefinition;
  readonly handlers: Readonly<Record<string, UntypedHandleCall>>;
}

/** What happens on the server, for the session and for metrics. */
export interface ServerEvents {
  /**
   * A ListAndWatch stream was opened or has ended; `open` are left. `oldestEnded`: it was the first that was opened, as a
   * rule the kubelet's, which connects within Register.
   */
  onStreams(open: number, oldestEnded: boolean): void;
  /** A list went out to a stream. */
  onListSent(bytes: number): void;
  /** A call was answered, or refused with a status and a sentence. `seconds` from its arrival. */
  onCall(method: string, seconds: number, refused: { code: string; message: string } | null): void;
}

type Stream = ServerWritableStream<Buffer, Buffer>;

const NOTHING = Buffer.alloc(0);

/** Open ListAndWatch streams; waiters are notified when the last one ends. */
class Streams {
  readonly #events: ServerEvents;
  readonly #open = new Set<Stream>();
  readonly #waiting = new Set<() => void>();

  constructor(events: ServerEvents) {
    this.#events = events;
  }

  get size(): number {
    return this.#open.size;
  }

  has(stream: Stream): boolean {
    return this.#open.has(stream);
  }

  add(stream: Stream): void {
    this.#open.add(stream);
    this.#events.onStreams(this.size, false);
  }

  delete(stream: Stream): void {
    const [oldest] = this.#open;
    this.#open.delete(stream);
    this.#events.onStreams(this.size, stream === oldest);
    if (this.size === 0) { for (const tell of [...this.#waiting]) tell(); }
  }

  end(): void {
    for (const stream of [...this.#open]) stream.end();
  }

  async left(ms: number, signal: AbortSignal): Promise<void> {
    if (this.size === 0 || signal.aborted) return;
    let timer: ReturnType<typeof setTimeout> | undefined;
    let tell = () => {};
    await new Promise<void>((resolve) => {
      tell = resolve;
      this.#waiting.add(tell);
      signal.addEventListener("abort", tell);
      timer = setTimeout(tell, ms);
    });
    clearTimeout(timer);
    signal.removeEventListener("abort", tell);
    this.#waiting.delete(tell);
  }
}

/** A listening server. */
export class PluginServer {
  readonly path: string;
  /** By this the session recognises that the file at {@link path} is still this server's. */
  readonly identity: FileIdentity;
  /** Unfinished sockets of killed predecessors that were removed on the way. */
  readonly swept: number;
  readonly #server: Server;
  readonly #streams: Streams;

  private constructor(server: Server, path: string, identity: FileIdentity, swept: number, streams: Streams) {
    this.#server = server;
    this.path = path;
    this.identity = identity;
    this.swept = swept;
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
    const streams = new Streams(events);
    // channelz, gRPC's book-keeping for its own debugging service, which is not served here, is a tenth of a call.
    const server = new Server({ "grpc.max_concurrent_streams": 1024, "grpc.enable_channelz": 0 });
    const service = bytesOnly(devicePluginServices()["v1beta1.DevicePlugin"]);
    const unary = Object.entries(answers(source));
    server.addService(service, {
      ...Object.fromEntries(unary.map(([name, answer]) => [name, throughLibrary(name, answer, events)])),
      ListAndWatch: (stream: Stream) => follow(stream, source, events, streams),
    });
    answerDirectly(server, {
      answers: new Map(unary.map(([name, answer]) => [service[name]!.path, answer])),
      refusal,
      onCall: (path, seconds, refused) => events.onCall(path.slice(path.lastIndexOf("/") + 1), seconds, refused),
    });
    if (extra !== null) server.addService(extra.definition, { ...extra.handlers });
    const bound = temporaryPath(path);
    try {
      await bind(server, bound);
      // Before the socket is in place, from where on the kubelet may call.
      const swept = await sweep(path, bound);
      return new PluginServer(server, path, moveIntoPlace(bound, path), swept, streams);
    } catch (error) {
      server.forceShutdown();
      throw error;
    }
  }

  /** Open ListAndWatch streams. */
  get streams(): number {
    return this.#streams.size;
  }

  /** Resolves when the last stream has been ended by its reader, after so many milliseconds, or when it is aborted. */
  left(ms: number, signal: AbortSignal): Promise<void> {
    return this.#streams.left(ms, signal);
  }

  /**
   * Ends the streams, lets calls in flight finish, and removes the socket if it is still this server's.
   *
   * @param graceMs after so many milliseconds calls that still run are cut off
   * @throws when the socket could not be removed; everything else is done then
   */
  async close(graceMs: number): Promise<void> {
    const failure = attempt(() => removeIfOurs(this.path, this.identity));
    this.#streams.end();
    const drained = new Promise<true>((resolve) => this.#server.tryShutdown(() => resolve(true)));
    let timer: ReturnType<typeof setTimeout> | undefined;
    const late = new Promise<false>((resolve) => timer = setTimeout(() => resolve(false), graceMs));
    // The library sometimes never calls back when a peer closes its connection at the same moment, so the end of the
    // drain is waited for this once only.
    if (!await Promise.race([drained, late])) this.#server.forceShutdown();
    clearTimeout(timer);
    if (failure !== null) throw failure;
  }
}

/** What it threw, or null: a file system that is read-only now is no reason to leave the rest undone. */
function attempt(work: () => void): unknown {
  try {
    work();
    return null;
  } catch (error) {
    return error;
  }
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

/** The methods with one request and one answer. */
function answers(source: DeviceSource): Readonly<Record<string, Answer>> {
  return {
    GetDevicePluginOptions: () => OPTIONS,
    GetPreferredAllocation: (request) => source.prefer(checkContainers(request)),
    Allocate: (request) => source.allocate(checkContainers(request)),
    // Not required (pre_start_required is false), but answered in case a kubelet calls it.
    PreStartContainer: () => NOTHING,
  };
}

/** The same for the library, which has the calls that are not plain. */
function throughLibrary(name: string, answer: Answer, events: ServerEvents): handleUnaryCall<Buffer, Buffer> {
  return (call, callback) => {
    const start = performance.now();
    const accept = (bytes: Buffer) => {
      callback(null, bytes);
      events.onCall(name, (performance.now() - start) / 1e3, null);
    };
    const refuse = (error: unknown) => {
      const { code, message } = refusal(error);
      callback({ code: status[code], details: message });
      events.onCall(name, (performance.now() - start) / 1e3, { code, message });
    };
    try {
      const bytes = answer(call.request);
      if (bytes instanceof Promise) bytes.then(accept, refuse);
      else accept(bytes);
    } catch (error) {
      refuse(error);
    }
  };
}

function refusal(error: unknown): Refusal {
  if (error instanceof RequestError) return { code: error.code, message: error.message };
  return { code: "INTERNAL", message: error instanceof Error ? error.message : String(error) };
}

/**
 * One list at once, then the latest after each change. A reader that does not read gets no queue: while the transport
 * is full nothing is written, and when it drains the list of that moment is.
 */
function follow(stream: Stream, source: DeviceSource, events: ServerEvents, streams: Streams): void {
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
    if (!streams.has(stream)) return;
    unsubscribe();
    stream.end();
    streams.delete(stream);
  };
  stream.on("drain", () => {
    full = false;
    send();
  });
  for (const event of ["cancelled", "close", "error", "finish"]) stream.on(event, end);
  streams.add(stream);
  send();
}
