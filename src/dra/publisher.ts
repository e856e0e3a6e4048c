/**
 * Reconciles the ResourceSlices of this node. Level-triggered, with one writer: after every change, the slices of the
 * API server are compared with the wanted ones, and the difference is written.
 *
 * @module
 */
import { Backoff, pause } from "../kubernetes/backoff.ts";
import type { ApiClient, ApiError, WatchEvent } from "../kubernetes/client.ts";
import {
  type KubernetesNode,
  nodePath,
  type ObjectList,
  type ResourceSlice,
  SLICES_PATH,
} from "../kubernetes/resource_api.ts";
import type { Log } from "../text/log.ts";
import { ALL_FEATURES, type Features, publish, type PublishedState } from "./devices.ts";
import {
  contents,
  droppedFields,
  planWrites,
  type PoolIdentity,
  probeSlice,
  publishedAttributes,
  type Write,
} from "./slices.ts";

export interface PublisherOptions {
  readonly client: ApiClient;
  readonly driver: string;
  readonly node: string;
  readonly pool: string;
  readonly log: Log;
  readonly onStatus: (status: PublisherStatus) => void;
  readonly timing?: Partial<PublisherTiming>;
}

export interface PublisherTiming {
  /** Least time between two rounds of writes, in milliseconds. */
  readonly roundMs: number;
  readonly firstRetryMs: number;
  readonly longestRetryMs: number;
  /** How long the server is asked to keep a watch open, in seconds. */
  readonly watchSeconds: number;
}

const TIMING: PublisherTiming = { roundMs: 1_000, firstRetryMs: 1_000, longestRetryMs: 60_000, watchSeconds: 480 };

export interface PublisherStatus {
  /** Whether the API server has the wanted slices. */
  readonly published: boolean;
  readonly devices: number;
  readonly features: Features;
  /** One sentence for each device that is left out or restricted, with the reason. */
  readonly notes: readonly string[];
  /** Why the slices are not published; null when they are. */
  readonly reason: string | null;
  readonly writes: number;
}

type Wanted = Omit<PublishedState, "features" | "known">;

export class Publisher {
  readonly #options: PublisherOptions;
  readonly #timing: PublisherTiming;
  readonly #existing = new Map<string, ResourceSlice>();
  #wanted: Wanted | null = null;
  #identity: PoolIdentity | null = null;
  #features: Features = ALL_FEATURES;
  #listed = false;
  #probed = false;
  /** Resource version of the last event. */
  #version = "";
  /** Resolved by each change to wake the writer. */
  #kick = Promise.withResolvers<void>();
  #status: PublisherStatus;

  constructor(options: PublisherOptions) {
    this.#options = options;
    this.#timing = { ...TIMING, ...options.timing };
    this.#status = {
      published: false,
      devices: 0,
      features: ALL_FEATURES,
      notes: [],
      reason: "not started",
      writes: 0,
    };
  }

  get status(): PublisherStatus {
    return this.#status;
  }

  /** Sets the wanted content of the slices. */
  want(wanted: Wanted): void {
    this.#wanted = wanted;
    this.#changed();
  }

  /**
   * Runs until `signal` aborts. The slices stay: the next process takes them over, or else the kubelet removes them.
   */
  async run(signal: AbortSignal): Promise<void> {
    signal.addEventListener("abort", () => this.#changed(), { once: true });
    await Promise.all([this.#follow(signal), this.#write(signal)]);
  }

  #changed(): void {
    this.#kick.resolve();
  }

  /** Lists and watches the slices into {@link #existing}. */
  async #follow(signal: AbortSignal): Promise<void> {
    const { driver, node } = this.#options;
    const backoff = new Backoff(this.#timing.firstRetryMs, this.#timing.longestRetryMs);
    const query = { fieldSelector: `spec.driver=${driver},spec.nodeName=${node}` };
    while (!signal.aborted) {
      const error = await this.#introduce(signal) ?? await this.#probe(signal) ?? await this.#list(query, signal);
      if (error !== null) {
        if (signal.aborted) return;
        this.#report({ published: false, reason: error.message });
        await pause(Math.max(backoff.next(), error.retryAfterMs ?? 0), signal);
        continue;
      }
      backoff.reset();
      const ended = await this.#watch(query, signal);
      if (signal.aborted) return;
      // The API server may have been replaced by one with other feature gates.
      if (ended.status !== 410) this.#probed = false;
      this.#options.log.debug(`the watch of ResourceSlices ended: ${ended.message}`);
      await pause(backoff.next(), signal);
    }
  }

  /** Reads the UID of the Node, which owns the slices. */
  async #introduce(signal: AbortSignal): Promise<ApiError | null> {
    if (this.#identity !== null) return null;
    const { client, driver, node, pool } = this.#options;
    const found = await client.call<KubernetesNode>("GET", nodePath(node), { signal });
    if (!found.ok) return found.error;
    const { uid = "" } = found.value.metadata;
    this.#identity = {
      driver,
      node,
      pool,
      owner: { apiVersion: "v1", kind: "Node", name: node, uid, controller: true },
    };
    return null;
  }

  /**
   * Finds out by a dry run which fields the API server keeps. It silently drops fields whose feature gate is off, and a
   * device that is down would then be offered without its taint.
   */
  async #probe(signal: AbortSignal): Promise<ApiError | null> {
    if (this.#probed) return null;
    const body = probeSlice(this.#identity!);
    const query = { dryRun: "All" };
    const made = await this.#options.client.call<ResourceSlice>("POST", SLICES_PATH, { query, body, signal });
    if (!made.ok) return made.error;
    this.#probed = true;
    const dropped = droppedFields(body.spec, made.value.spec);
    if (dropped.size === 0) this.#features = ALL_FEATURES;
    this.#notice(dropped);
    return null;
  }

  async #list(query: Record<string, string>, signal: AbortSignal): Promise<ApiError | null> {
    const listed = await this.#options.client.call<ObjectList<ResourceSlice>>("GET", SLICES_PATH, { query, signal });
    if (!listed.ok) return listed.error;
    this.#existing.clear();
    for (const slice of listed.value.items) this.#existing.set(slice.metadata.name!, slice);
    this.#version = listed.value.metadata.resourceVersion ?? "";
    this.#listed = true;
    this.#changed();
    return null;
  }

  /** Watches, each time from where the last watch ended, until a watch fails. */
  async #watch(query: Record<string, string>, signal: AbortSignal): Promise<ApiError> {
    const onEvent = ({ type, object }: WatchEvent<ResourceSlice>) => {
      this.#version = object.metadata.resourceVersion ?? this.#version;
      if (type === "BOOKMARK") return;
      const name = object.metadata.name!;
      const known = this.#existing.get(name);
      if (type !== "DELETED") this.#existing.set(name, object);
      // A late DELETED event must not remove a slice that was created since.
      else if (known === undefined || known.metadata.uid === object.metadata.uid) {
        this.#existing.delete(name);
        this.#options.log.info(`ResourceSlice ${name} was deleted; the kubelet does that when it starts`);
      }
      this.#changed();
    };
    while (true) {
      const { watchSeconds } = this.#timing;
      const full = { ...query, resourceVersion: this.#version, allowWatchBookmarks: true };
      const started = performance.now();
      const error = await this.#options.client.watch<ResourceSlice>(SLICES_PATH, full, watchSeconds, onEvent, signal);
      if (error !== null) return error;
      if (signal.aborted) return { status: null, reason: "Stopped", message: "stopped", retryAfterMs: null };
      // Limits the rate of requests to a server that ends each watch at once.
      const lasted = performance.now() - started;
      if (lasted < this.#timing.firstRetryMs) await pause(this.#timing.firstRetryMs - lasted, signal);
    }
  }

  async #write(signal: AbortSignal): Promise<void> {
    const backoff = new Backoff(this.#timing.firstRetryMs, this.#timing.longestRetryMs);
    while (true) {
      await this.#kick.promise;
      if (signal.aborted) return;
      this.#kick = Promise.withResolvers<void>();
      if (!this.#listed || this.#wanted === null || this.#identity === null) continue;
      const error = await this.#round(this.#wanted, this.#identity, signal);
      if (error === null) {
        backoff.reset();
        await pause(this.#timing.roundMs, signal);
      } else {
        if (signal.aborted) return;
        this.#report({ published: false, reason: error.message });
        this.#changed();
        await pause(Math.max(backoff.next(), error.retryAfterMs ?? 0), signal);
      }
    }
  }

  /** Compares the slices and makes the necessary writes. */
  async #round(wanted: Wanted, identity: PoolIdentity, signal: AbortSignal): Promise<ApiError | null> {
    const existing = [...this.#existing.values()];
    const made = publish({ ...wanted, features: this.#features, known: publishedAttributes(existing) });
    for (const write of planWrites(existing, contents(made), identity)) {
      const error = await this.#apply(write, signal);
      if (error !== null) return error;
      if (signal.aborted) return null;
    }
    this.#report({ published: true, reason: null, devices: made.devices.length, notes: made.notes });
    return null;
  }

  async #apply(write: Write, signal: AbortSignal): Promise<ApiError | null> {
    const { client, log } = this.#options;
    if (write.kind === "delete") {
      const deleted = await client.call("DELETE", `${SLICES_PATH}/${write.name}`, { signal });
      if (!deleted.ok && deleted.error.status !== 404) return deleted.error;
      this.#existing.delete(write.name);
      return null;
    }
    const name = write.slice.metadata.name!;
    const [method, path] = write.kind === "create"
      ? ["POST", SLICES_PATH] as const
      : ["PUT", `${SLICES_PATH}/${name}`] as const;
    const written = await client.call<ResourceSlice>(method, path, { body: write.slice, signal });
    this.#report({ writes: this.#status.writes + 1 });
    if (written.ok) {
      this.#existing.set(name, written.value);
      this.#notice(droppedFields(write.slice.spec, written.value.spec));
      log.debug(`ResourceSlice ${name} ${write.kind === "create" ? "created" : "updated"}`);
      return null;
    }
    // Another client wrote the slice first, usually another process of this driver: read it and compare again.
    if (written.error.status !== 409 && written.error.status !== 404) return written.error;
    const there = await client.call<ResourceSlice>("GET", `${SLICES_PATH}/${name}`, { signal });
    if (there.ok) this.#existing.set(name, there.value);
    else if (there.error.status === 404) this.#existing.delete(name);
    else return there.error;
    this.#changed();
    return null;
  }

  /** Records the fields that the API server dropped, so that the next round does not rely on them. */
  #notice(dropped: ReadonlySet<keyof Features>): void {
    const before = this.#features;
    if ([...dropped].every((one) => !before[one])) return;
    this.#features = {
      taints: before.taints && !dropped.has("taints"),
      sharing: before.sharing && !dropped.has("sharing"),
      counters: before.counters && !dropped.has("counters"),
    };
    this.#report({ features: this.#features });
    this.#options.log.warn(
      `the API server drops fields of ResourceSlices (${[...dropped].map((one) => GATES[one]).join(", ")} off): ` +
        "devices that must not be offered without them are left out",
    );
    this.#changed();
  }

  #report(change: Partial<PublisherStatus>): void {
    const next = { ...this.#status, ...change };
    if (JSON.stringify(next) === JSON.stringify(this.#status)) return;
    const { log, onStatus } = this.#options;
    if (next.reason !== this.#status.reason) {
      if (next.reason !== null) log.warn(`the ResourceSlices are not up to date: ${next.reason}; will be retried`);
      else log.info(`${next.devices} devices are published in the ResourceSlices of pool ${this.#options.pool}`);
    }
    for (const note of next.notes) if (!this.#status.notes.includes(note)) log.warn(note);
    this.#status = next;
    onStatus(next);
  }
}

/** The feature gates behind the features. */
export const GATES: Readonly<Record<keyof Features, string>> = {
  taints: "DRADeviceTaints",
  sharing: "DRAConsumableCapacity",
  counters: "DRAPartitionableDevices",
};
