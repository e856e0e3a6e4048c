/**
 * A small HTTP server for probes, scrapes and one page. It only reads, answers GET and HEAD, and gives nobody the means
 * to hold more of the process than a few connections: the plugin's work comes first.
 *
 * @module
 */
import { createServer, type IncomingMessage, type Server, type ServerResponse } from "node:http";
import type { AddressInfo } from "node:net";
import type { ListenAddress } from "./address.ts";

/** What a path answers. */
export interface Answer {
  readonly status: number;
  readonly type: string;
  readonly body: string;
  readonly headers?: Readonly<Record<string, string>>;
}

/** A path: an answer, or a response that stays open and is the handler's from then on. */
export type Route =
  | { readonly kind: "answer"; readonly answer: () => Answer | Promise<Answer> }
  | { readonly kind: "stream"; readonly open: (response: ServerResponse) => Answer | null };

export interface HttpOptions {
  readonly routes: Readonly<Record<string, Route>>;
  /** A request was answered; `path` is a route, or "other". */
  readonly onRequest: (path: string, status: number) => void;
  readonly onProblem: (sentence: string) => void;
  readonly limits?: Partial<Limits>;
}

export interface Limits {
  readonly connections: number;
  readonly headerBytes: number;
  /** Milliseconds for a request's head. */
  readonly headMs: number;
  /** Milliseconds that an unused connection stays. */
  readonly idleMs: number;
  /** Milliseconds that a client may take to read an answer. */
  readonly readMs: number;
}

/** What nobody asked to have otherwise; docs/security.md has these numbers. */
export const LIMITS: Limits = { connections: 64, headerBytes: 8 * 1024, headMs: 5_000, idleMs: 15_000, readMs: 20_000 };

/** On every answer. The page brings its own policy for its one script and style. */
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
   * Listens.
   *
   * @throws with a sentence when the address cannot be listened on
   */
  static listen(address: ListenAddress, options: HttpOptions): Promise<HttpServer> {
    const limits = { ...LIMITS, ...options.limits };
    const server = createServer({
      maxHeaderSize: limits.headerBytes,
      headersTimeout: limits.headMs,
      requestTimeout: limits.headMs,
      keepAliveTimeout: limits.idleMs,
      // The check wakes the process whether there are connections or not. So it is rare, and a slow head may stay four
      // times its time, which is what a slow reader has.
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

  /** The port that was got. */
  get port(): number {
    return (this.#server.address() as AddressInfo).port;
  }

  /** Stops listening and cuts every connection. */
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
  // A body is nobody's business here; it is let run out, within the time that a request has.
  request.resume();
  const path = (request.url ?? "").split("?", 1)[0]!;
  const route = Object.hasOwn(routes, path) ? routes[path]! : null;
  let answer: Answer | null;
  try {
    answer = await respond(request, response, route);
  } catch (error) {
    onProblem(`Cannot answer ${path}: ${error instanceof Error ? error.message : String(error)}`);
    answer = plain(500, "the plugin could not make this answer; its log says why");
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
  if (route === null) return plain(404, "there is nothing here; try / or /metrics");
  if (request.method !== "GET" && request.method !== "HEAD") {
    const refusal = plain(405, "only GET and HEAD; nothing can be changed here");
    return { ...refusal, headers: { allow: "GET, HEAD", connection: "close" } };
  }
  if (route.kind === "answer") return await route.answer();
  if (request.method === "HEAD") return { status: 200, type: EVENT_STREAM, body: "" };
  return route.open(response);
}

export const EVENT_STREAM = "text/event-stream; charset=utf-8";

/** A sentence or a few lines. */
export function plain(status: number, text: string): Answer {
  return { status, type: "text/plain; charset=utf-8", body: `${text}\n` };
}

/** The head of a stream that stays open. */
export function openStream(response: ServerResponse): void {
  response.writeHead(200, { ...HEADERS, "content-type": EVENT_STREAM });
}
