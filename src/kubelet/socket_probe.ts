/**
 * Whether a unix socket is served, found out by connecting to it and hanging up.
 *
 * @module
 */
import { lstatSync } from "node:fs";
import { connect } from "node:net";

/** What comes of connecting to a socket. */
export type SocketProbe =
  /** Someone listens; where the server had to speak, it has spoken. */
  | "answers"
  /** Someone listens, and the queue of connections is full. */
  | "busy"
  /** The connection was made, but the server did not speak in time or hung up. */
  | "silent"
  /** No one listens: the process died, or the path is no socket. */
  | "refuses"
  /** There is nothing at the path. */
  | "missing"
  /** There may be a listener, but this process may not reach it. */
  | "denied"
  /** Nothing can be said, for instance because this process may open no more files. */
  | "unknown";

const BY_CODE: Readonly<Record<string, SocketProbe>> = {
  EAGAIN: "busy",
  ECONNREFUSED: "refuses",
  ECONNRESET: "silent",
  EPIPE: "silent",
  ENOENT: "refuses", // a link to nothing: that the path itself is there has been seen
  ELOOP: "refuses",
  ENOTSOCK: "refuses",
  EACCES: "denied",
  EPERM: "denied",
  ERR_ACCESS_DENIED: "denied", // Node.js' permissions
};

/** How a probe is made. */
export interface ProbeOptions {
  /**
   * Milliseconds within which an HTTP/2 server has to speak: its SETTINGS come without being asked for. That a
   * connection is made is not enough to know a server well, since it waits in the kernel's queue for a listener that
   * may never take it. Without a time limit a connection is an answer.
   */
  readonly speaksWithinMs?: number;
}

/** Connects, waits for the server's first bytes if asked to, and hangs up. No request is made. Never throws. */
export function probeSocket(path: string, { speaksWithinMs }: ProbeOptions = {}): Promise<SocketProbe> {
  if (!isThere(path)) return Promise.resolve("missing");
  const { promise, resolve } = Promise.withResolvers<SocketProbe>();
  try {
    const socket = connect(path);
    let timer: ReturnType<typeof setTimeout> | undefined;
    const settle = (probe: SocketProbe) => {
      clearTimeout(timer);
      socket.destroy();
      resolve(probe);
    };
    socket.once("error", (error) => settle(meaning(error)));
    if (speaksWithinMs === undefined) {
      socket.once("connect", () => settle("answers"));
    } else {
      timer = setTimeout(() => settle("silent"), speaksWithinMs);
      socket.once("data", () => settle("answers"));
      socket.once("end", () => settle("silent"));
    }
  } catch (error) {
    resolve(meaning(error)); // Deno's sandbox throws at once
  }
  return promise;
}

/** Whether a process listens at the path; one whose queue of connections is full does, too. */
export async function isServed(path: string): Promise<boolean> {
  const probe = await probeSocket(path);
  return probe === "answers" || probe === "busy";
}

function meaning(error: unknown): SocketProbe {
  const { name, code = "" } = error as { name?: string; code?: string };
  return name === "NotCapable" ? "denied" : BY_CODE[code] ?? "unknown";
}

function isThere(path: string): boolean {
  try {
    lstatSync(path);
    return true;
  } catch {
    return false; // or not to be seen, which is as good as not there
  }
}
