/**
 * A small HTTP server for probes, metrics and the status page. It is read-only, answers GET and HEAD, and limits the
 * resources that clients can use, since the plugin's own work has priority.
 *
 * @module
 */
import { createServer, type IncomingMessage, type Server, type ServerResponse } from "node:http";
import type { AddressInfo } from "node:net";
import type { ListenAddress } from "./address.ts";

/** The answer for a path. */
export interface Answer {
  readonly status: number;
  readonly type: string;
  readonly body: string;
  readonly headers?: Readonly<Record<string, string>>;
}

/** A route: an answer, or a handler that takes over the response and keeps it open. */
export type Route =
  | { readonly kind: "answer"; readonly answer: () => Answer | Promise<Answer> }
  | { readonly kind: "stream"; readonly open: (response: ServerResponse) => Answer | null };

export interface HttpOptions {
  readonly routes: Readonly<Record<string, Route>>;
  /** Called after a request was answered; `path` is a route, or "other". */
  readonly onRequest: (path: string, status: number) => void;
  readonly onProblem: (sentence: string) => void;
  readonly limits?: Partial<Limits>;
}

export interface Limits {
  readonly connections: number;
  readonly headerBytes: number;
  /** Milliseconds to receive a request header. */
  readonly headMs: number;
  /** Milliseconds that an idle connection is kept. */
  readonly idleMs: number;
  /** Milliseconds that a client may take to read an answer. */
  readonly readMs: number;
}

/** The default limits; docs/security.md lists them. */
export const LIMITS: Limits = { connections: 64, headerBytes: 8 * 1024, headMs: 5_000, idleMs: 15_000, readMs: 20_000 };

/** Headers of every answer. The page has its own policy for its script and style. */
const HEADERS: Readonly<Record<string, string>> = {
  "cache-control": "no-store",
  "x-content-type-options": "nosniff",
  "referrer-policy": "no-referrer",
  "cross-origin-resource-policy": "same-origin",
  "content-security-policy": "default-src 'none'; frame-ancestors 'none'",
};

/** A listening server. */
export class HttpServer {
  readonly #server: Server;

  private constructor(server: Server) {
    this.#server = server;
  }

  /**
   * Starts listening.
   *
   * @throws when the address cannot be listened on
   */
  static listen(address: ListenAddress, options: HttpOptions): Promise<HttpServer> {
    const limits = { ...LIMITS, ...options.limits };
    const server = createServer({
      maxHeaderSize: limits.headerBytes,
      headersTimeout: limits.headMs,
      requestTimeout: limits.headMs,
      keepAliveTimeout: limits.idleMs,
      // The check wakes the process even without connections, so it is rare. A slow header may therefore take up to
      // four times its limit, which is also the limit of a slow reader.
      connectionsCheckingInterval: 3 * limits.headMs,
    }, (request, response) => {
      void serve(request, response, options, limits.readMs);
    });
    server.maxConnections = limits.connections;
    server.on("clientError", (_error, socket) => socket.destroy());
    return new Promise((resolve, reject) => {
      const where = `${address.host ?? ""}:${address.port}`;
      server.once(
        "error",
        (error) => reject(new Error(`Cannot listen on ${where}: ${error.message}`, { cause: error })),
      );
      server.listen(address.port, address.host, () => {
        server.removeAllListeners("error");
        server.on("error", (error) => options.onProblem(`the HTTP server on ${where}: ${error.message}`));
        resolve(new HttpServer(server));
      });
    });
  }

  /** The port that the server listens on. */
  get port(): number {
    return (this.#server.address() as AddressInfo).port;
  }

  /** Stops listening and closes all connections. */
  close(): Promise<void> {
    return new Promise((resolve) => {
      this.#server.close(() => resolve());
      this.#server.closeAllConnections();
    });
  }
}

/** Answers one request. Never rejects. */
async function serve(
  request: IncomingMessage,
  response: ServerResponse,
  { routes, onRequest, onProblem }: HttpOptions,
  readMs: number,
): Promise<void> {
  response.on("error", () => response.destroy());
  // A body is not used; it is discarded within the time limit of a request.
  request.resume();
  const path = (request.url ?? "").split("?", 1)[0]!;
  const route = Object.hasOwn(routes, path) ? routes[path]! : null;
  let answer: Answer | null;
  try {
    answer = await respond(request, response, route);
  } catch (error) {
    onProblem(`Cannot answer ${path}: ${error instanceof Error ? error.message : String(error)}`);
    answer = plain(500, "the plugin could not create this answer; see its log");
  }
  onRequest(route === null ? "other" : path, answer?.status ?? 200);
  if (answer === null || response.destroyed) return;
  const late = setTimeout(() => response.destroy(), readMs);
  response.on("close", () => clearTimeout(late));
  const bytes = new TextEncoder().encode(answer.body);
  response.writeHead(answer.status, {
    ...HEADERS,
    "content-type": answer.type,
    "content-length": bytes.length,
    ...answer.headers,
  });
  response.end(request.method === "HEAD" ? undefined : bytes);
}

async function respond(
  request: IncomingMessage,
  response: ServerResponse,
  route: Route | null,
): Promise<Answer | null> {
  if (route === null) return plain(404, "not found; try / or /metrics");
  if (request.method !== "GET" && request.method !== "HEAD") {
    const refusal = plain(405, "only GET and HEAD are allowed");
    return { ...refusal, headers: { allow: "GET, HEAD", connection: "close" } };
  }
  if (route.kind === "answer") return await route.answer();
  if (request.method === "HEAD") return { status: 200, type: EVENT_STREAM, body: "" };
  return route.open(response);
}

export const EVENT_STREAM = "text/event-stream; charset=utf-8";

/** A plain-text answer. */
export function plain(status: number, text: string): Answer {
  return { status, type: "text/plain; charset=utf-8", body: `${text}\n` };
}

/** Writes the header of a stream that stays open. */
export function openStream(response: ServerResponse): void {
  response.writeHead(200, { ...HEADERS, "content-type": EVENT_STREAM });
}
