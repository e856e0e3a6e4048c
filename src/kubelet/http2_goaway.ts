/**
 * Keeps Deno's HTTP/2 alive when a peer says GOAWAY (denoland/deno#36788).
 *
 * Deno 2.9.4 to 2.9.6 call JavaScript while nghttp2 is still reading the frame, and JavaScript closes the session there
 * and then. If no stream is open any more, that frees what nghttp2 goes on to use: the process aborts in
 * `find_stream_on_goaway_func`, crashes or spins, at once or some hundred connections later. A client that resets its
 * stream and then says GOAWAY is enough. Here the session is closed in the next turn instead, when the frame has been
 * read. Deno 2.9.3 and older do not free a session at all, which costs 30 KiB for every connection there ever was.
 *
 * Importing this module is enough; it has to come before the first connection.
 *
 * @module
 */
import http2 from "node:http2";
import type { Socket } from "node:net";
import process from "node:process";
import { gatherFrames } from "./http2_gather.ts";

/** What is used of a session. `close` and `destroy` are the prototype's, until a GOAWAY puts others in front of them. */
interface Session {
  close(...args: unknown[]): void;
  destroy(...args: unknown[]): void;
  emit(event: string, ...args: unknown[]): boolean;
}

const METHODS = ["close", "destroy"] as const;

/**
 * The runtime emits "goaway" within the read, right before it closes the session. A listener would not do: grpc-js removes
 * all listeners of a client's session when the server's SETTINGS arrive.
 */
function closeAfterGoaway(session: Session): void {
  const emit = session.emit.bind(session);
  session.emit = (event, ...args) => {
    if (event === "goaway") putOff(session);
    return emit(event, ...args);
  };
}

/** Puts off the end of the session to the next turn. */
function putOff(session: Session): void {
  // Queued first, so that what is put off below finds the prototype's methods.
  process.nextTick(() => {
    for (const method of METHODS) Reflect.deleteProperty(session, method);
  });
  for (const method of METHODS) {
    session[method] = (...args) => process.nextTick(() => session[method](...args));
  }
}

/** Wraps the two ways to get a session. grpc-js takes them from the same module object. */
function install(): void {
  const { createServer, connect } = http2;
  http2.createServer = ((...args: Parameters<typeof createServer>) => {
    const server = createServer(...args);
    // Before the runtime's own listener, which makes the session and writes its first frames.
    server.prependListener("connection", (socket: Socket) => gatherFrames(socket));
    server.on("session", (session: Session) => closeAfterGoaway(session));
    return server;
  }) as typeof createServer;
  http2.connect = ((...args: Parameters<typeof connect>) => {
    const session = connect(...args);
    closeAfterGoaway(session as unknown as Session);
    return session;
  }) as typeof connect;
}

if ("Deno" in globalThis) install();
