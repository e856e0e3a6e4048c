/**
 * The objects of a fake API server with their resource versions, and the events for watches.
 *
 * @module
 */
import { randomUUID } from "node:crypto";
import { isDeepStrictEqual } from "node:util";

/** Any Kubernetes object. */
export interface KubeObject {
  apiVersion?: string;
  kind?: string;
  metadata: Record<string, unknown> & { name?: string; generateName?: string; uid?: string; resourceVersion?: string };
  [key: string]: unknown;
}

/** A change to an object of a collection. */
export interface StoreEvent {
  readonly collection: string;
  readonly version: number;
  readonly type: "ADDED" | "MODIFIED" | "DELETED";
  readonly object: KubeObject;
}

/** An error that the server answers as a `meta/v1 Status`. */
export class StoreError extends Error {
  readonly status: number;
  readonly reason: string;

  constructor(status: number, reason: string, message: string) {
    super(message);
    this.status = status;
    this.reason = reason;
  }
}

/** Number of events kept; a watch from an older version gets 410 Gone. */
const EVENTS_KEPT = 200;

/** Collections by path, such as "resource.k8s.io/v1/resourceslices" or "v1/nodes". */
export class Store {
  readonly #objects = new Map<string, Map<string, KubeObject>>();
  readonly #listeners = new Set<(event: StoreEvent) => void>();
  #events: StoreEvent[] = [];
  #version = 1;
  /** Number of accepted writes. */
  readonly writes = new Map<string, number>();

  get version(): number {
    return this.#version;
  }

  list(collection: string): readonly KubeObject[] {
    return [...this.#objects.get(collection)?.values() ?? []].sort((a, b) =>
      a.metadata.name! < b.metadata.name! ? -1 : 1
    );
  }

  get(collection: string, key: string): KubeObject | null {
    return this.#objects.get(collection)?.get(key) ?? null;
  }

  /** @param key name, or "namespace/name" */
  create(collection: string, object: KubeObject, namespace: string | null = null): KubeObject {
    const { generateName } = object.metadata;
    const name = object.metadata.name ?? `${generateName}${Math.random().toString(36).slice(2, 7)}`;
    const key = namespace === null ? name : `${namespace}/${name}`;
    const all = this.#objects.get(collection) ?? new Map<string, KubeObject>();
    this.#objects.set(collection, all);
    if (all.has(key)) throw new StoreError(409, "AlreadyExists", `${collection} "${name}" already exists`);
    const metadata = {
      ...object.metadata,
      name,
      uid: object.metadata.uid ?? randomUUID(),
      ...namespace ? { namespace } : {},
    };
    return this.#put(collection, key, { ...object, metadata }, "ADDED");
  }

  update(collection: string, key: string, object: KubeObject): KubeObject {
    const before = this.#existing(collection, key);
    const { resourceVersion } = object.metadata;
    if (resourceVersion !== undefined && resourceVersion !== before.metadata.resourceVersion) {
      const message = `Operation cannot be fulfilled on "${key}": the object has been modified; please apply your ` +
        "changes to the latest version and try again";
      throw new StoreError(409, "Conflict", message);
    }
    const metadata = {
      ...object.metadata,
      uid: before.metadata.uid!,
      resourceVersion: before.metadata.resourceVersion!,
    };
    // An update that changes nothing is no write: no version, and no event.
    if (isDeepStrictEqual({ ...object, metadata }, before)) return before;
    return this.#put(collection, key, { ...object, metadata }, "MODIFIED");
  }

  delete(collection: string, key: string): KubeObject {
    const before = this.#existing(collection, key);
    this.#objects.get(collection)!.delete(key);
    const gone = { ...before, metadata: { ...before.metadata, resourceVersion: String(++this.#version) } };
    this.#emit(collection, "DELETED", gone);
    return gone;
  }

  /** Events after a version; null when they have been compacted. */
  since(collection: string, version: number): readonly StoreEvent[] | null {
    const first = this.#events[0];
    if (first !== undefined && first.version > version + 1 && this.#events.length >= EVENTS_KEPT) return null;
    return this.#events.filter((one) => one.collection === collection && one.version > version);
  }

  /** Drops all events, like an etcd compaction. */
  compact(): void {
    this.#version++;
    this.#events = [];
  }

  listen(listener: (event: StoreEvent) => void): () => void {
    this.#listeners.add(listener);
    return () => this.#listeners.delete(listener);
  }

  #existing(collection: string, key: string): KubeObject {
    const found = this.get(collection, key);
    if (found === null) throw new StoreError(404, "NotFound", `${collection} "${key}" not found`);
    return found;
  }

  #put(collection: string, key: string, object: KubeObject, type: "ADDED" | "MODIFIED"): KubeObject {
    const stored = { ...object, metadata: { ...object.metadata, resourceVersion: String(++this.#version) } };
    this.#objects.get(collection)!.set(key, stored);
    this.#emit(collection, type, stored);
    return stored;
  }

  #emit(collection: string, type: StoreEvent["type"], object: KubeObject): void {
    const event = { collection, version: this.#version, type, object };
    this.#events = [...this.#events, event].slice(-EVENTS_KEPT);
    this.writes.set(collection, (this.writes.get(collection) ?? 0) + 1);
    for (const listener of [...this.#listeners]) listener(event);
  }
}
