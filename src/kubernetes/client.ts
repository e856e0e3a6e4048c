/**
 * A small client of the Kubernetes API: JSON over HTTPS. Errors are values, because an API server
 * that is unreachable, slow or refuses a request is an ordinary condition on a node.
 *
 * @module
 */
import { readFileSync } from "node:fs";
import { Agent as PlainAgent, type IncomingMessage, request as requestPlain } from "node:http";
import { Agent, request } from "node:https";
import type { Readable } from "node:stream";
import { createGunzip } from "node:zlib";
import { ItemSplitter } from "./list_items.ts";
import type { ApiAccess, Credentials, CredentialSource } from "./access.ts";

/** Why a request failed. */
export interface ApiError {
  /** HTTP status; null when the server could not be reached or did not answer in time. */
  readonly status: number | null;
  /**
   * `Status.reason` of the server ("NotFound", "Conflict", "Forbidden"); when there was no answer "Untrusted" for a
   * certificate that cannot be verified, "NoCredentials", or "Unreachable".
   */
  readonly reason: string;
  /** A sentence for people. */
  readonly message: string;
  /** The server's Retry-After, in milliseconds; at most a minute. */
  readonly retryAfterMs: number | null;
}

export type ApiResult<T> =
  | { readonly ok: true; readonly value: T }
  | { readonly ok: false; readonly error: ApiError };

/** Parameters of a query; undefined ones are left out. */
export type Query = Readonly<Record<string, string | number | boolean | undefined>>;

export interface CallOptions {
  readonly query?: Query;
  readonly body?: unknown;
  readonly contentType?: string;
  readonly timeoutMs?: number;
  readonly signal?: AbortSignal;
}

export interface WatchEvent<T> {
  readonly type: "ADDED" | "MODIFIED" | "DELETED" | "BOOKMARK" | "ERROR";
  readonly object: T;
}

export type Method = "GET" | "POST" | "PUT" | "PATCH" | "DELETE";

/** Timeout of a request. The kubelet's timeout for a prepare is 45 s, so several requests fit. */
const TIMEOUT_MS = 10_000;
/** Limit on the size of a response; lists of slices with at most 64 devices each are far smaller. */
const LONGEST_ANSWER = 32 * 1024 * 1024;
const KEEP_ALIVE_MS = 30_000;
/** The API server asks for seconds; a proxy before it may ask for a day. */
const LONGEST_RETRY_AFTER_MS = 60_000;
/** A watch that lasts this much longer than requested has a half-open connection. */
const WATCH_SLACK_MS = 30_000;

/** What a request was sent with, for its second try. */
interface Tried {
  credentials: Credentials | null;
}

/** Talks to one API server. */
export class ApiClient {
  readonly #access: ApiAccess | CredentialSource;
  #agent: Agent | PlainAgent | null = null;
  /** The TLS settings of the agent's connections. */
  #tls: string | null = null;
  /** Aborts requests in flight when the client is closed. */
  readonly #closing = new AbortController();

  constructor(access: ApiAccess | CredentialSource) {
    this.#access = access;
  }

  get server(): string {
    return this.#access.server;
  }

  /** Makes one request. Never rejects; after a 401 it is retried once with the credentials that there are by then. */
  async call<T>(method: Method, path: string, options: CallOptions = {}): Promise<ApiResult<T>> {
    const tried: Tried = { credentials: null };
    const first = await this.#once<T>(method, path, options, tried);
    return first.ok || first.error.status !== 401 ? first : await this.#once<T>(method, path, options, tried);
  }

  /**
   * One page of a collection, object by object as they arrive. Never rejects; when the connection breaks in the middle,
   * some have been given.
   *
   * @returns the list without its items
   */
  async list<T, L>(path: string, options: CallOptions, onItem: (item: T) => void): Promise<ApiResult<L>> {
    const tried: Tried = { credentials: null };
    const first = await this.#list<T, L>(path, options, onItem, tried);
    return first.ok || first.error.status !== 401 ? first : await this.#list<T, L>(path, options, onItem, tried);
  }

  /**
   * Follows a collection until the server ends the watch, the connection breaks, or `signal` aborts. Never rejects.
   *
   * @param seconds how long the server is asked to keep the watch open
   * @param silentMs longest time without an event before the connection is taken for lost, for watches with bookmarks; the
   *   server sends one about once a minute
   * @returns null for an ordinary end, otherwise the error
   */
  async watch<T>(
    path: string,
    query: Query,
    seconds: number,
    onEvent: (event: WatchEvent<T>) => void,
    signal: AbortSignal,
    silentMs?: number,
  ): Promise<ApiError | null> {
    const full = { ...query, watch: true, timeoutSeconds: seconds };
    const patienceMs = seconds * 1_000 + WATCH_SLACK_MS;
    let failure: ApiError | null = null;
    const opened = await this.#open("GET", path, { query: full, timeoutMs: patienceMs, signal });
    if (!opened.ok) return opened.error;
    const { response, done } = opened.value;
    if (response.statusCode !== 200) {
      const text = await textOf(response).catch(() => "");
      done();
      return refusal(response, text);
    }
    let rest = "";
    const decoder = new TextDecoder();
    const words = `nothing came on the watch for ${(silentMs ?? 0) / 1e3} s`;
    const silence = silentMs === undefined ? undefined : setTimeout(() => {
      this.#leaveIdle();
      response.destroy(new Error(words));
    }, silentMs);
    try {
      for await (const chunk of response) {
        silence?.refresh();
        rest += decoder.decode(chunk as Uint8Array, { stream: true });
        if (rest.length > LONGEST_ANSWER) throw new Error("an event of the watch is too long");
        const lines = rest.split("\n");
        rest = lines.pop() ?? "";
        for (const line of lines) {
          if (line.trim() === "") continue;
          const event = JSON.parse(line) as WatchEvent<T>;
          if (event.type === "ERROR") failure = ofStatus(event.object, 500, null);
          else onEvent(event);
        }
        if (failure !== null) break;
      }
      if (failure === null && rest.trim() !== "") throw new Error("the watch ended in the middle of an event");
    } catch (error) {
      failure = signal.aborted ? null : unreachable(this.server, error);
    } finally {
      clearTimeout(silence);
      response.destroy();
      done();
    }
    return failure;
  }

  /** Ends calls and connections. */
  close(): void {
    this.#closing.abort();
    this.#agent?.destroy();
  }

  async #once<T>(method: Method, path: string, options: CallOptions, tried: Tried): Promise<ApiResult<T>> {
    const opened = await this.#open(method, path, options, tried);
    if (!opened.ok) return opened;
    const { response, done } = opened.value;
    try {
      const text = await textOf(response);
      const status = response.statusCode ?? 0;
      if (status < 200 || status > 299) return { ok: false, error: refusal(response, text) };
      return { ok: true, value: JSON.parse(text) as T };
    } catch (error) {
      return { ok: false, error: unreachable(this.server, error) };
    } finally {
      done();
    }
  }

  async #list<T, L>(
    path: string,
    options: CallOptions,
    onItem: (item: T) => void,
    tried: Tried,
  ): Promise<ApiResult<L>> {
    const opened = await this.#open("GET", path, options, tried);
    if (!opened.ok) return opened;
    const { response, done } = opened.value;
    try {
      if (response.statusCode !== 200) return { ok: false, error: refusal(response, await textOf(response)) };
      const items = new ItemSplitter((text) => onItem(JSON.parse(text) as T));
      for await (const chunk of bodyOf(response)) items.push(chunk as Uint8Array);
      return { ok: true, value: JSON.parse(items.around()) as L };
    } catch (error) {
      response.destroy();
      return { ok: false, error: unreachable(this.server, error) };
    } finally {
      done();
    }
  }

  /** Sends the request; `done` must be called when the response has been read. */
  async #open(
    method: Method,
    path: string,
    options: CallOptions,
    tried: Tried = { credentials: null },
  ): Promise<ApiResult<{ response: IncomingMessage; done: () => void }>> {
    const { query = {}, body, contentType = "application/json", timeoutMs = TIMEOUT_MS } = options;
    const url = new URL(this.#access.server.replace(/\/+$/, "") + path);
    const secure = url.protocol === "https:";
    let credentials: Credentials;
    let agent: Agent | PlainAgent;
    try {
      credentials = "credentials" in this.#access
        ? await this.#access.credentials(tried.credentials)
        : fromFiles(this.#access);
      tried.credentials = credentials;
      agent = this.#connections(credentials, secure);
    } catch (error) {
      const words = error instanceof Error ? error.message : String(error);
      const message = `there are no credentials for the API server ${this.server} (${words})`;
      return { ok: false, error: { status: null, reason: "NoCredentials", message, retryAfterMs: null } };
    }
    for (const [key, value] of Object.entries(query)) {
      if (value !== undefined) url.searchParams.set(key, String(value));
    }
    const text = body === undefined ? null : new TextEncoder().encode(JSON.stringify(body));
    const control = new AbortController();
    const abort = () => control.abort();
    const late = setTimeout(() => {
      this.#leaveIdle();
      control.abort(new Error(`no answer within ${timeoutMs / 1e3} s`));
    }, timeoutMs);
    const signals = [options.signal, this.#closing.signal].filter((one) => one !== undefined);
    for (const one of signals) {
      if (one.aborted) abort();
      one.addEventListener("abort", abort, { once: true });
    }
    const done = () => {
      clearTimeout(late);
      for (const one of signals) one.removeEventListener("abort", abort);
    };
    const compressed = "compressed" in this.#access && this.#access.compressed;
    return await new Promise((resolve) => {
      const fail = (error: unknown) => {
        done();
        const reason: unknown = control.signal.aborted ? control.signal.reason : error;
        resolve({ ok: false, error: unreachable(this.server, reason) });
      };
      if (control.signal.aborted) return fail(control.signal.reason);
      const asked = (secure ? request : requestPlain)({
        protocol: url.protocol,
        hostname: url.hostname.replace(/^\[|\]$/g, ""),
        port: portOf(url),
        path: `${url.pathname}${url.search}`,
        method,
        agent,
        headers: {
          ...credentials.headers,
          accept: "application/json",
          ...compressed ? { "accept-encoding": "gzip" } : {},
          ...text === null ? {} : { "content-type": contentType, "content-length": String(text.length) },
        },
      }, (response) => {
        control.signal.addEventListener("abort", () => response.destroy(), { once: true });
        resolve({ ok: true, value: { response, done } });
      });
      control.signal.addEventListener("abort", () => {
        asked.destroy();
        fail(control.signal.reason);
      }, { once: true });
      asked.on("error", fail);
      asked.on("socket", (socket) => socket.setKeepAlive(true, KEEP_ALIVE_MS));
      if (text !== null) asked.write(text);
      asked.end();
    });
  }

  /**
   * Closes the connections that no request uses. When a server has lost its power, or a load balancer its state, each of
   * them would cost a request its whole timeout.
   */
  #leaveIdle(): void {
    for (const socket of Object.values(this.#agent?.freeSockets ?? {}).flatMap((some) => some ?? [])) socket.destroy();
  }

  /** Reuses connections, until the TLS settings change because the cluster's CA was rotated or a certificate replaced. */
  #connections({ tls }: Credentials, secure: boolean): Agent | PlainAgent {
    const key = JSON.stringify(tls);
    if (this.#agent !== null && this.#tls === key) return this.#agent;
    this.#agent?.destroy();
    this.#tls = key;
    const settings = { keepAlive: true, maxSockets: 8 };
    return this.#agent = secure ? new Agent({ ...settings, ...tls }) : new PlainAgent(settings);
  }
}

/** The port of an address; where it has none, that of its protocol. */
export function portOf({ port, protocol }: URL): number {
  return port !== "" ? Number(port) : protocol === "http:" ? 80 : 443;
}

function fromFiles({ caFile, tokenFile }: ApiAccess): Credentials {
  const token = readFileSync(tokenFile, "utf8").trim();
  return { tls: { ca: readFileSync(caFile, "utf8") }, headers: { authorization: `Bearer ${token}` } };
}

/** What the response carries, without its compression. */
function bodyOf(response: IncomingMessage): Readable {
  if (response.headers["content-encoding"] !== "gzip") return response;
  const body = createGunzip();
  response.on("error", (error) => body.destroy(error));
  response.on("close", () => {
    if (!response.complete) body.destroy(new Error("the connection was closed before the end of the response"));
  });
  return response.pipe(body);
}

function textOf(response: IncomingMessage): Promise<string> {
  const body = bodyOf(response);
  return new Promise((resolve, reject) => {
    const chunks: Uint8Array[] = [];
    let length = 0;
    body.on("data", (chunk: Uint8Array) => {
      chunks.push(chunk);
      length += chunk.length;
      if (length > LONGEST_ANSWER) response.destroy(new Error("the answer is too long"));
    });
    body.on("error", reject);
    body.on("end", () => {
      const decoder = new TextDecoder();
      resolve(chunks.map((chunk) => decoder.decode(chunk, { stream: true })).join("") + decoder.decode());
    });
    response.on("error", reject);
    response.on("close", () => {
      if (!response.complete) reject(new Error("the connection was closed before the end of the response"));
    });
    // A response that has arrived whole and is destroyed before it was read has no end and no error.
    const givenUp = () => reject(new Error("the response was given up before its end"));
    body.on("close", givenUp);
    if (body.destroyed) givenUp();
  });
}

function unreachable(server: string, error: unknown): ApiError {
  const { code, message } = error instanceof Error
    ? error as Error & { code?: string }
    : { code: undefined, message: String(error) };
  const words = code === undefined || message.includes(code) ? message : `${code}: ${message}`;
  const untrusted = /CERT|ISSUER|SIGNATURE/.test(code ?? "");
  return {
    status: null,
    reason: untrusted ? "Untrusted" : "Unreachable",
    message: untrusted
      ? `the certificate of the API server ${server} is not trusted (${words})`
      : `the API server ${server} cannot be reached (${words})`,
    retryAfterMs: null,
  };
}

function refusal(response: IncomingMessage, text: string): ApiError {
  const seconds = Number(response.headers["retry-after"]);
  const retryAfterMs = Number.isFinite(seconds) && seconds >= 0
    ? Math.min(seconds * 1_000, LONGEST_RETRY_AFTER_MS)
    : null;
  let status: unknown;
  try {
    status = JSON.parse(text);
  } catch {
    status = { message: text.slice(0, 200) }; // not a Status: the answer of a proxy
  }
  return ofStatus(status, response.statusCode ?? 0, retryAfterMs);
}

/** Converts a `meta/v1 Status`, or whatever was received instead. */
function ofStatus(object: unknown, code: number, retryAfterMs: number | null): ApiError {
  const { message, reason, code: own } = (object ?? {}) as { message?: unknown; reason?: unknown; code?: unknown };
  const status = typeof own === "number" && own > 0 ? own : code;
  const words = typeof message === "string" && message !== "" ? message : `status ${status}`;
  return {
    status,
    reason: typeof reason === "string" && reason !== "" ? reason : String(status),
    message: `the API server refused: ${words}`,
    retryAfterMs,
  };
}
