/**
 * Checks whether a unix socket is served, by connecting to it.
 *
 * @module
 */
import { lstatSync } from "node:fs";
import { connect } from "node:net";

/** Result of connecting to a socket. */
export type SocketProbe =
  /** A process listens; if requested, the server has sent its first bytes. */
  | "answers"
  /** A process listens, but its backlog is full. */
  | "busy"
  /** The connection was accepted, but the server sent nothing in time or closed it. */
  | "silent"
  /** No process listens: it died, or the path is not a socket. */
  | "refuses"
  /** The path does not exist. */
  | "missing"
  /** A process may listen, but this one has no permission to connect. */
  | "denied"
  /** Unknown, for instance because this process cannot open more files. */
  | "unknown";

const BY_CODE: Readonly<Record<string, SocketProbe>> = {
  EAGAIN: "busy",
  ECONNREFUSED: "refuses",
  ECONNRESET: "silent",
  EPIPE: "silent",
  ENOENT: "refuses", // a broken link: the path itself exists
  ELOOP: "refuses",
  ENOTSOCK: "refuses",
  EACCES: "denied",
  EPERM: "denied",
  ERR_ACCESS_DENIED: "denied", // Node.js permission model
};

/** Options of a probe. */
export interface ProbeOptions {
  /**
   * Milliseconds within which an HTTP/2 server must send its SETTINGS, which it sends without a request. A connection
   * alone does not show that the server works, since the kernel queues it for a listener that may never accept it.
   * Without this option a connection is enough.
   */
  readonly speaksWithinMs?: number;
}

/** Connects, optionally waits for the server's first bytes, and disconnects. Sends no request. Never throws. */
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
    resolve(meaning(error)); // Deno's permission check throws at once
  }
  return promise;
}

/** Whether a process listens at the path, even with a full backlog. */
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
    return false; // or not accessible, which counts as missing
  }
}
