/**
 * What is kept of a collection: a few fields of each object, read in pages and, if wanted, followed by a watch.
 *
 * @module
 */
import { Backoff, pause } from "./backoff.ts";
import type { ApiClient, ApiError, Query, WatchEvent } from "./client.ts";
import { listPages } from "./pages.ts";
import type { ObjectMeta } from "./resource_api.ts";

const FIRST_PAUSE_MS = 1_000;
const LONGEST_PAUSE_MS = 30_000;
/** The server ends a watch after so long, and the next one continues where it ended. */
const WATCH_SECONDS = 300;

/** Any object of the API. */
export interface ApiObject {
  readonly metadata: ObjectMeta;
}

/** One collection of the API, and what is to be kept of it. */
export interface CollectionSpec<O extends ApiObject, T> {
  readonly path: string;
  readonly query?: Query;
  /** What is kept of an object; null when it does not matter. Must not refer to the object, which is large. */
  readonly keep: (object: O) => T | null;
}

/** Holds one collection. */
export class Reflector<O extends ApiObject, T> {
  readonly #client: ApiClient;
  readonly #spec: CollectionSpec<O, T>;
  #kept: ReadonlyMap<string, T> = new Map();
  #version = "";
  #error: ApiError | null = null;

  constructor(client: ApiClient, spec: CollectionSpec<O, T>) {
    this.#client = client;
    this.#spec = spec;
  }

  /** Why the collection could not be read; null when it was. */
  get error(): ApiError | null {
    return this.#error;
  }

  /** By "namespace/name", or "name"; not to be kept over a change. */
  get kept(): ReadonlyMap<string, T> {
    return this.#kept;
  }

  /** Reads the collection; when that fails, what was known stays. */
  async list(signal: AbortSignal): Promise<void> {
    const { path, query = {}, keep } = this.#spec;
    const kept = new Map<string, T>();
    const add = (item: O) => {
      const value = keep(item);
      if (value !== null) kept.set(keyOf(item), value);
    };
    const listed = await listPages<O>(this.#client, path, query, { add, restart: () => kept.clear() }, signal);
    this.#error = listed.ok ? null : listed.error;
    if (!listed.ok) return;
    this.#kept = kept;
    this.#version = listed.value;
  }

  /** Follows the collection from the last {@link list} until `signal` aborts, and reads it again when that breaks. */
  async follow(onChange: () => void, signal: AbortSignal): Promise<void> {
    const { path, query = {} } = this.#spec;
    const backoff = new Backoff(FIRST_PAUSE_MS, LONGEST_PAUSE_MS);
    while (!signal.aborted) {
      if (this.#error === null) {
        const from = { ...query, resourceVersion: this.#version, allowWatchBookmarks: true };
        const seen = (event: WatchEvent<O>) => {
          backoff.reset();
          this.#version = event.object.metadata.resourceVersion ?? this.#version;
          if (event.type !== "BOOKMARK" && this.#apply(event)) onChange();
        };
        const failure = await this.#client.watch<O>(path, from, WATCH_SECONDS, seen, signal);
        // An ordinary end; a server that ends every watch at once must not be asked without a pause.
        if (failure === null && backoff.failures === 0) {
          backoff.next();
          continue;
        }
      }
      await pause(backoff.next(), signal);
      if (signal.aborted) return;
      const before = this.#error;
      await this.list(signal);
      if (this.#error === null || before === null) onChange();
    }
  }

  #apply({ type, object }: WatchEvent<O>): boolean {
    const key = keyOf(object);
    const value = type === "DELETED" ? null : this.#spec.keep(object);
    const known = this.#kept.has(key);
    if (value === null && !known) return false;
    const kept = this.#kept as Map<string, T>;
    if (value === null) kept.delete(key);
    else kept.set(key, value);
    return true;
  }
}

function keyOf({ metadata: { namespace, name } }: ApiObject): string {
  return namespace === undefined ? name! : `${namespace}/${name}`;
}
