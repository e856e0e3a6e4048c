/**
 * A fake Kubernetes API server with the parts that the plugin needs, faithful to the real one: TLS with its own CA,
 * tokens that expire, list and watch with resource versions, conflicts, the limits of ResourceSlices, fields that are
 * dropped with their feature gate. It also injects the faults that a driver must survive.
 *
 * @module
 */
import type { IncomingMessage, ServerResponse } from "node:http";
import { createServer, type Server } from "node:https";
import { mkdirSync, writeFileSync } from "node:fs";
import type { AddressInfo } from "node:net";
import type { Duplex } from "node:stream";
import { join } from "node:path";
import type { ApiAccess } from "../../src/kubernetes/access.ts";
import type { ResourceSlice } from "../../src/kubernetes/resource_api.ts";
import { Waits } from "../waits.ts";
import { AUTHORITY, SERVER_CERTIFICATE, SERVER_KEY } from "./certificates.ts";
import { Snapshots } from "./pages.ts";
import { hasLabels, matches, selectorOf } from "./selectors.ts";
import { admitEvent, patch } from "./patches.ts";
import { admitSlice, ALL_GATES, type Gates, sliceMistakes } from "./slices.ts";
import { type KubeObject, Store, StoreError } from "./store.ts";

export const SLICES = "resource.k8s.io/v1/resourceslices";
export const CLAIMS = "resource.k8s.io/v1/resourceclaims";
export const CLASSES = "resource.k8s.io/v1/deviceclasses";
export const NODES = "v1/nodes";
export const PODS = "v1/pods";
export const EVENTS = "events.k8s.io/v1/events";

/** Faults that the server can inject. */
export type ApiFault =
  | { readonly kind: "slow"; readonly ms: number }
  | { readonly kind: "error"; readonly status: number; readonly retryAfterSeconds?: number }
  /** Accepts requests and never answers. */
  | { readonly kind: "silent" }
  /** Answers everything with JSON that is no object of this API, as something on the way may do. */
  | { readonly kind: "odd"; readonly body: unknown }
  | { readonly kind: "forbidden"; readonly verb: string; readonly resource: string }
  /** Refuses watches alone, as a server does that has too many, or an account without that right. */
  | { readonly kind: "no-watch"; readonly status: number; readonly retryAfterSeconds?: number }
  /** Does not know an API group or version, as an older server. */
  | { readonly kind: "absent"; readonly group: string };

interface Watch {
  readonly response: ServerResponse;
  readonly stop: () => void;
}

/** A received request. */
export interface Seen {
  readonly method: string;
  readonly path: string;
  readonly dryRun: boolean;
}

export class FakeApiServer {
  readonly store = new Store();
  readonly requests: Seen[] = [];
  /** What pages of lists are cut from. */
  readonly snapshots = new Snapshots();
  readonly access: ApiAccess;
  gates: Gates = ALL_GATES;
  fault: ApiFault | null = null;
  #token = "token-1";
  #server: Server | null = null;
  readonly #sockets = new Set<Duplex>();
  readonly #watches = new Set<Watch>();
  readonly #waits = new Waits();
  readonly #timers = new Set<ReturnType<typeof setTimeout>>();
  #port = 0;

  private constructor(access: ApiAccess) {
    this.access = access;
    this.store.listen(this.#waits.changed);
  }

  /** @param dir where the CA and token files are written, under the names that a pod sees */
  static async start(dir: string): Promise<FakeApiServer> {
    mkdirSync(dir, { recursive: true });
    const caFile = join(dir, "ca.crt");
    const tokenFile = join(dir, "token");
    writeFileSync(caFile, AUTHORITY);
    // The first listen determines the port; a restart keeps it.
    const holder = { server: "", caFile, tokenFile };
    const api = new FakeApiServer(holder);
    api.rotateToken();
    await api.up();
    holder.server = `https://127.0.0.1:${api.#port}`;
    return api;
  }

  /** Listens (again) on the same port. */
  async up(): Promise<void> {
    if (this.#server !== null) return;
    const server = createServer({ key: SERVER_KEY, cert: SERVER_CERTIFICATE }, (request, response) => {
      this.#answer(request, response).catch((error: unknown) => response.destroy(error as Error));
    });
    server.on("connection", (socket) => {
      this.#sockets.add(socket);
      socket.on("close", () => this.#sockets.delete(socket));
    });
    await new Promise<void>((resolve) => server.listen(this.#port, "127.0.0.1", resolve));
    this.#port = (server.address() as AddressInfo).port;
    this.#server = server;
  }

  /** Closes all connections and refuses new ones until {@link up}. */
  async down(): Promise<void> {
    const server = this.#server;
    if (server === null) return;
    this.#server = null;
    this.#watches.clear();
    for (const socket of this.#sockets) socket.destroy();
    server.closeAllConnections();
    await new Promise<void>((resolve) => server.close(() => resolve()));
  }

  async close(): Promise<void> {
    for (const timer of this.#timers) clearTimeout(timer);
    await this.down();
  }

  [Symbol.asyncDispose](): Promise<void> {
    return this.close();
  }

  /** Replaces the token, in the file as well; the old one is no longer valid. */
  rotateToken(): void {
    this.#token = `token-${Math.random().toString(36).slice(2)}`;
    writeFileSync(this.access.tokenFile, `${this.#token}\n`);
  }

  /** Invalidates the token; the file keeps it until {@link rotateToken}. */
  expireToken(): void {
    this.#token = "expired";
  }

  /** Breaks the connection of every open watch. */
  cutWatches(): void {
    for (const { response } of this.#watches) response.destroy();
    this.#watches.clear();
  }

  /** No open watch gets anything any more, and none ends: what a connection that was lost on the way looks like. */
  freezeWatches(): void {
    for (const { stop } of this.#watches) stop();
  }

  get watches(): number {
    return this.#watches.size;
  }

  get slices(): readonly ResourceSlice[] {
    return this.store.list(SLICES) as unknown as readonly ResourceSlice[];
  }

  /** Requests with a method that writes, successful or not. */
  writes(): readonly Seen[] {
    return this.requests.filter((one) => one.method !== "GET" && !one.dryRun);
  }

  /** Resolves when the predicate holds; it is evaluated after every request and every change. */
  async waitFor<T>(predicate: () => T | false | null | undefined, what: string, timeoutMs = 60_000): Promise<T> {
    const message = (reason: string) => {
      const last = this.requests.slice(-8).map((one) => `${one.method} ${one.path}`).join("; ");
      return `Cannot see ${what}: ${reason}; the last requests were: ${last}`;
    };
    return await this.#waits.until(predicate, message, timeoutMs);
  }

  async #answer(request: IncomingMessage, response: ServerResponse): Promise<void> {
    const url = new URL(request.url ?? "/", "https://localhost");
    const method = request.method ?? "GET";
    const chunks: Uint8Array[] = [];
    for await (const chunk of request) chunks.push(chunk as Uint8Array);
    const dryRun = url.searchParams.get("dryRun") === "All";
    this.requests.push({ method, path: url.pathname, dryRun });
    this.#waits.changed();
    if (!await this.#faulty(response, method, url)) return;
    if (request.headers.authorization !== `Bearer ${this.#token}`) {
      return this.#refuse(response, new StoreError(401, "Unauthorized", "Unauthorized"));
    }
    try {
      const text = new TextDecoder().decode(joined(chunks));
      const body = text === "" ? null : JSON.parse(text) as KubeObject;
      this.#serve(url, method, body, dryRun, request, response);
    } catch (error) {
      if (error instanceof StoreError) return this.#refuse(response, error);
      throw error;
    }
  }

  /** Returns false when the request has already been handled. */
  async #faulty(response: ServerResponse, method: string, url: URL): Promise<boolean> {
    const fault = this.fault;
    if (fault === null) return true;
    if (fault.kind === "silent") return false;
    if (fault.kind === "odd") {
      this.#json(response, 200, fault.body as object);
      return false;
    }
    if (fault.kind === "no-watch" && url.searchParams.get("watch") !== "true") return true;
    if (fault.kind === "absent") {
      if (!url.pathname.startsWith(`/apis/${fault.group}/`)) return true;
      response.writeHead(404, { "content-type": "text/plain" });
      response.end("404 page not found\n");
      return false;
    }
    if (fault.kind === "error" || fault.kind === "no-watch") {
      if (fault.retryAfterSeconds !== undefined) response.setHeader("Retry-After", String(fault.retryAfterSeconds));
      const reason = fault.status === 429 ? "TooManyRequests" : "InternalError";
      this.#refuse(response, new StoreError(fault.status, reason, "the server has a bad day"));
      return false;
    }
    if (fault.kind === "forbidden") {
      if (method !== fault.verb || !url.pathname.includes(`/${fault.resource}`)) return true;
      const message = `${fault.resource} is forbidden: User "system:serviceaccount:kube-system:rdma-device-plugin" ` +
        `cannot ${verbOf(fault.verb)} resource "${fault.resource}"`;
      this.#refuse(response, new StoreError(403, "Forbidden", message));
      return false;
    }
    await new Promise<void>((resolve) => {
      const timer = setTimeout(() => {
        this.#timers.delete(timer);
        resolve();
      }, fault.ms);
      this.#timers.add(timer);
    });
    return true;
  }

  #serve(
    url: URL,
    method: string,
    body: KubeObject | null,
    dryRun: boolean,
    request: IncomingMessage,
    response: ServerResponse,
  ): void {
    if (url.pathname === "/version") {
      return this.#json(response, 200, { gitVersion: "v1.36.3" } as unknown as KubeObject);
    }
    if (url.pathname.endsWith("/selfsubjectaccessreviews")) return this.#json(response, 201, this.#review(body!));
    const { collection, namespace, name, subresource } = pathOf(url.pathname);
    const key = name === null ? null : namespace === null ? name : `${namespace}/${name}`;
    if (method === "GET" && key === null) {
      const fields = selectorOf(url.searchParams.get("fieldSelector"));
      if (url.searchParams.get("watch") === "true") {
        return this.#watch(collection, fields, url, response);
      }
      const labels = selectorOf(url.searchParams.get("labelSelector"));
      const items = this.store.list(collection).filter((one) =>
        (namespace === null || one.metadata.namespace === namespace) && matches(one, fields) && hasLabels(one, labels)
      );
      return this.#json(response, 200, this.snapshots.page(items, this.store.version, url.searchParams));
    }
    if (method === "GET") {
      const found = this.store.get(collection, key!);
      if (found === null) throw new StoreError(404, "NotFound", `${collection.split("/").at(-1)} "${name}" not found`);
      return this.#json(response, 200, found);
    }
    if (method === "DELETE") return this.#json(response, 200, this.store.delete(collection, key!));
    if (body === null) throw new StoreError(400, "BadRequest", "a body is needed");
    if (method === "PATCH") {
      const contentType = request.headers["content-type"] ?? "";
      return this.#json(response, 200, patch(this.store, { collection, key: key!, subresource, contentType, body }));
    }
    const object = collection === SLICES
      ? this.#admit(body, key)
      : collection === EVENTS
      ? admitEvent(body, null)
      : body;
    if (dryRun) return this.#json(response, 201, object);
    if (method === "POST") return this.#json(response, 201, this.store.create(collection, object, namespace));
    this.#json(response, 200, this.store.update(collection, key!, object));
  }

  /** Whether the service account has a permission: all but those that a fault withdraws. */
  #review(body: KubeObject): object {
    const { resourceAttributes: asked } = body.spec as { resourceAttributes: { verb: string; resource: string } };
    const { fault } = this;
    const forbidden = fault?.kind === "forbidden" && verbOf(fault.verb) === asked.verb &&
      fault.resource === asked.resource;
    return { ...body, status: { allowed: !forbidden } };
  }

  #admit(body: KubeObject, key: string | null): KubeObject {
    const slice = body as unknown as ResourceSlice;
    const before = key === null ? null : this.store.get(SLICES, key) as unknown as ResourceSlice | null;
    const wrong = sliceMistakes(slice, before);
    if (wrong.length > 0) {
      throw new StoreError(422, "Invalid", `ResourceSlice.resource.k8s.io is invalid: [${wrong.join(", ")}]`);
    }
    const now = new Date().toISOString().replace(/\.\d+Z$/, "Z");
    return admitSlice(slice, this.gates, now) as unknown as KubeObject;
  }

  #watch(
    collection: string,
    fields: readonly (readonly [string, string])[],
    url: URL,
    response: ServerResponse,
  ): void {
    // The client, or this server, is gone: no "close" would come any more.
    if (response.destroyed) return;
    const asked = Number(url.searchParams.get("resourceVersion") ?? this.store.version);
    const missed = this.store.since(collection, asked);
    response.writeHead(200, { "content-type": "application/json" });
    const send = (type: string, object: object) => void response.write(`${JSON.stringify({ type, object })}\n`);
    if (missed === null) {
      send("ERROR", {
        kind: "Status",
        status: "Failure",
        reason: "Expired",
        code: 410,
        message: "too old resource version",
      });
      response.end();
      return;
    }
    // The headers are sent only with the first bytes of the body.
    if (url.searchParams.get("allowWatchBookmarks") === "true") {
      send("BOOKMARK", { metadata: { resourceVersion: String(this.store.version) } });
    }
    for (const event of missed) if (matches(event.object, fields)) send(event.type, event.object);
    const stop = this.store.listen((event) => {
      if (event.collection === collection && matches(event.object, fields)) send(event.type, event.object);
    });
    const watch: Watch = { response, stop };
    this.#watches.add(watch);
    const seconds = Number(url.searchParams.get("timeoutSeconds") ?? 3_600);
    const timer = setTimeout(() => response.end(), seconds * 1_000);
    this.#timers.add(timer);
    // The request was closed when its body had been read; the response is with the connection.
    response.on("close", () => {
      clearTimeout(timer);
      this.#timers.delete(timer);
      stop();
      this.#watches.delete(watch);
      this.#waits.changed();
    });
    this.#waits.changed();
  }

  #json(response: ServerResponse, status: number, object: object): void {
    response.writeHead(status, { "content-type": "application/json" });
    response.end(JSON.stringify(object));
    this.#waits.changed();
  }

  #refuse(response: ServerResponse, { status, reason, message }: StoreError): void {
    this.#json(response, status, {
      kind: "Status",
      apiVersion: "v1",
      status: "Failure",
      reason,
      code: status,
      message,
    });
  }
}

interface Target {
  readonly collection: string;
  readonly namespace: string | null;
  readonly name: string | null;
  readonly subresource: string | null;
}

function pathOf(path: string): Target {
  const parts = path.split("/").filter((one) => one !== "").map(decodeURIComponent);
  const api = parts[0] === "apis" ? parts.slice(1) : parts.slice(1);
  const prefix = parts[0] === "apis" ? api.slice(0, 2) : api.slice(0, 1);
  const rest = api.slice(prefix.length);
  const namespace = rest[0] === "namespaces" && rest.length > 2 ? rest[1]! : null;
  const [resource = "", name = null, subresource = null] = namespace === null ? rest : rest.slice(2);
  return { collection: [...prefix, resource].join("/"), namespace, name, subresource };
}

function joined(chunks: readonly Uint8Array[]): Uint8Array {
  const whole = new Uint8Array(chunks.reduce((sum, one) => sum + one.length, 0));
  let at = 0;
  for (const chunk of chunks) {
    whole.set(chunk, at);
    at += chunk.length;
  }
  return whole;
}

function verbOf(method: string): string {
  return { GET: "get", POST: "create", PUT: "update", PATCH: "patch", DELETE: "delete" }[method] ??
    method.toLowerCase();
}
