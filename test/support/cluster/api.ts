/**
 * The API server, as tests ask it: objects in, objects out, and a watch instead of a pause.
 *
 * @module
 */
import { readFileSync } from "node:fs";
import type { KubeList, KubeObject, Manifest } from "./objects.ts";

/** Where an API server is and who asks. */
export interface Endpoint {
  readonly url: string;
  readonly caFile: string;
  readonly token: string;
}

/** An answer that is not a success. */
export class ApiError extends Error {
  constructor(readonly status: number, message: string) {
    super(message);
    this.name = "ApiError";
  }
}

export interface Asking {
  readonly body?: object;
  readonly type?: string;
  readonly signal?: AbortSignal;
}

/** Kinds of ours that are in a namespace. kustomize gives one to others as well, when it does not know them. */
const NAMESPACED = new Set(["ConfigMap", "DaemonSet", "ServiceAccount"]);

/** A client of one API server. */
export class Api implements Disposable {
  readonly #endpoint: Endpoint;
  #client: Deno.HttpClient | null = null;

  constructor(endpoint: Endpoint) {
    this.#endpoint = endpoint;
  }

  async get<T extends KubeObject>(path: string): Promise<T> {
    return await this.#ask("GET", path) as T;
  }

  /** A collection; the path may have selectors. */
  async list<T extends KubeObject>(path: string): Promise<KubeList<T>> {
    return await this.#ask("GET", path) as KubeList<T>;
  }

  /** Any request, with any answer. */
  async ask<T>(method: string, path: string, asking: Asking = {}): Promise<T> {
    return await this.#ask(method, path, asking) as T;
  }

  async create(path: string, object: object): Promise<void> {
    await this.#ask("POST", path, { body: object });
  }

  async patch(path: string, change: object): Promise<void> {
    await this.#ask("PATCH", path, { body: change, type: "application/strategic-merge-patch+json" });
  }

  /** Makes an object what a manifest says, as `kubectl apply --server-side` does, which takes a second for a few of them. */
  async apply(manifest: Manifest): Promise<void> {
    const { apiVersion, kind, metadata: { name, namespace } } = manifest;
    const group = apiVersion.includes("/") ? `/apis/${apiVersion}` : `/api/${apiVersion}`;
    // The server's own rule for the names of its collections, as far as our kinds go.
    const plural = `${kind.toLowerCase()}s`.replace(/(s)s$/, "$1es").replace(/ys$/, "ies");
    const path = `${group}${NAMESPACED.has(kind) ? `/namespaces/${namespace}` : ""}/${plural}/${name}`;
    await this.#ask("PATCH", `${path}?fieldManager=cluster-tests&force=true`, {
      body: manifest,
      type: "application/apply-patch+yaml",
    });
  }

  async delete(path: string, options: object = {}): Promise<void> {
    try {
      await this.#ask("DELETE", path, { body: options });
    } catch (error) {
      if (!(error instanceof ApiError && error.status === 404)) throw error;
    }
  }

  /**
   * Waits until one object is as wanted, following its changes; null stands for an object that does not exist.
   *
   * @throws with what it was last when time is up
   */
  async until<O extends KubeObject, T>(
    path: string,
    wanted: (object: O | null) => T | false | null | undefined,
    what: string,
    timeoutMs = 20_000,
  ): Promise<T> {
    let last: O | null = null;
    const signal = AbortSignal.timeout(timeoutMs);
    try {
      for await (const object of this.follow<O>(path, signal)) {
        last = object;
        const found = wanted(object);
        if (found) return found;
      }
    } catch (error) {
      if (!signal.aborted) throw error;
    }
    throw new Error(`Waited ${timeoutMs} ms in vain for ${what}; last: ${JSON.stringify(last?.status ?? last)}`);
  }

  /** Yields an object as it is and after each of its changes, null while it does not exist, until `signal` aborts. */
  async *follow<O extends KubeObject>(path: string, signal: AbortSignal): AsyncGenerator<O | null> {
    const cut = path.lastIndexOf("/");
    const [collection, name] = [path.slice(0, cut), path.slice(cut + 1)];
    const selector = `fieldSelector=metadata.name%3D${name}`;
    const list = await this.#ask("GET", `${collection}?${selector}`, { signal }) as KubeList<O>;
    yield list.items[0] ?? null;
    const version = list.metadata.resourceVersion;
    const answer = await this.#fetch(
      `${collection}?${selector}&watch=1&resourceVersion=${version}`,
      { signal },
    );
    for await (const { type, object } of lines<O>(answer)) yield type === "DELETED" ? null : object;
  }

  /** An answer that is no object, such as a pod's own, through the server's proxy. */
  async text(path: string): Promise<string> {
    const answer = await this.#fetch(path, {});
    const text = await answer.text();
    if (!answer.ok) throw new ApiError(answer.status, `GET ${path}: ${answer.status} ${text.slice(0, 1_000)}`);
    return text;
  }

  /** Whether the server says that it is ready. */
  async isReady(): Promise<boolean> {
    try {
      const answer = await this.#fetch("/readyz", {});
      await answer.body?.cancel();
      return answer.ok;
    } catch {
      return false;
    }
  }

  [Symbol.dispose](): void {
    this.#client?.close();
  }

  async #ask(method: string, path: string, { body, type = "application/json", signal }: Asking = {}): Promise<unknown> {
    const answer = await this.#fetch(path, {
      method,
      headers: { "content-type": type },
      ...body === undefined ? {} : { body: JSON.stringify(body) },
      ...signal === undefined ? {} : { signal },
    });
    const text = await answer.text();
    if (!answer.ok) throw new ApiError(answer.status, `${method} ${path}: ${answer.status} ${text.slice(0, 1_000)}`);
    return JSON.parse(text);
  }

  #fetch(path: string, init: RequestInit): Promise<Response> {
    // The server makes its certificate at its first start.
    this.#client ??= Deno.createHttpClient({ caCerts: [readFileSync(this.#endpoint.caFile, "utf8")] });
    return fetch(`${this.#endpoint.url}${path}`, {
      ...init,
      headers: { ...init.headers, authorization: `Bearer ${this.#endpoint.token}` },
      client: this.#client,
    });
  }
}

interface WatchEvent<O> {
  readonly type: string;
  readonly object: O;
}

async function* lines<O>(answer: Response): AsyncGenerator<WatchEvent<O>> {
  let rest = "";
  for await (const chunk of answer.body!.pipeThrough(new TextDecoderStream())) {
    const parts = (rest + chunk).split("\n");
    rest = parts.pop()!;
    for (const part of parts) yield JSON.parse(part);
  }
}
