/**
 * Reconciles the ResourceSlices of this node. Level-triggered, with one writer: after every change, the slices of the
 * API server are compared with the wanted ones, and the difference is written.
 *
 * @module
 */
import { isDeepStrictEqual } from "node:util";
import { Backoff, pause } from "../kubernetes/backoff.ts";
import type { ApiClient, ApiError, WatchEvent } from "../kubernetes/client.ts";
import {
  type DeviceTaint,
  type KubernetesNode,
  NO_RESOURCE_API,
  nodePath,
  type ObjectList,
  type ResourceSlice,
  SLICES_PATH,
} from "../kubernetes/resource_api.ts";
import type { Log } from "../text/log.ts";
import type { Attributes } from "./attributes.ts";
import { ALL_FEATURES, type Features, publish, type PublishedState } from "./devices.ts";
import { gatesOff, without } from "./gates.ts";
import {
  contents,
  droppedFields,
  planWrites,
  type PoolIdentity,
  probeSlice,
  publishedAttributes,
  publishedTaints,
  type Write,
} from "./slices.ts";

export interface PublisherOptions {
  readonly client: ApiClient;
  readonly driver: string;
  readonly node: string;
  readonly pool: string;
  readonly log: Log;
  readonly onStatus: (status: PublisherStatus) => void;
  /**
   * Returns the socket of a newer process of the driver, or null. Two processes with different configurations, as in a
   * rolling update, would otherwise overwrite each other's slices as long as both run.
   */
  readonly successor?: () => Promise<string | null>;
  readonly timing?: Partial<PublisherTiming>;
  /** For tests. */
  readonly pause?: typeof pause;
}

export interface PublisherTiming {
  /** Least time between two rounds of writes, in milliseconds. */
  readonly roundMs: number;
  readonly firstRetryMs: number;
  readonly longestRetryMs: number;
  /** How long the server is asked to keep a watch open, in seconds. */
  readonly watchSeconds: number;
  /** Longest silence of a watch before it is restarted; the server sends a bookmark about once a minute. */
  readonly silentMs: number;
  /** Interval of the checks whether the newer process still runs. */
  readonly standbyMs: number;
}

const TIMING: PublisherTiming = {
  roundMs: 1_000,
  firstRetryMs: 1_000,
  longestRetryMs: 60_000,
  watchSeconds: 480,
  silentMs: 150_000,
  standbyMs: 5_000,
};

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
  readonly #pause: typeof pause;
  readonly #existing = new Map<string, ResourceSlice>();
  #wanted: Wanted | null = null;
  #identity: PoolIdentity | null = null;
  #features: Features = ALL_FEATURES;
  #listed = false;
  #probed = false;
  /** Resource version of the last event. */
  #version = "";
  /** Last published attributes by device; facts that a scan misses are kept even if the slices were deleted. */
  readonly #known = new Map<string, Attributes>();
  /** Last published taints by device; they keep their age even if the slices were deleted. */
  readonly #taints = new Map<string, readonly DeviceTaint[]>();
  #successor: string | null = null;
  #standby: Promise<void> | null = null;
  /** Resolved by each change to wake the writer. */
  #kick = Promise.withResolvers<void>();
  #status: PublisherStatus;

  constructor(options: PublisherOptions) {
    this.#options = options;
    this.#timing = { ...TIMING, ...options.timing };
    this.#pause = options.pause ?? pause;
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
    const { firstRetryMs, longestRetryMs } = this.#timing;
    const [backoff, watches] = [new Backoff(firstRetryMs, longestRetryMs), new Backoff(firstRetryMs, longestRetryMs)];
    const query = { fieldSelector: `spec.driver=${driver},spec.nodeName=${node}` };
    while (!signal.aborted) {
      const error = await this.#guard(async () =>
        await this.#introduce(signal) ?? await this.#probe(signal) ?? await this.#list(query, signal)
      );
      if (error !== null) {
        if (signal.aborted) return;
        this.#report({ published: false, reason: error.message });
        await this.#pause(Math.max(backoff.next(), error.retryAfterMs ?? 0), signal);
        continue;
      }
      backoff.reset();
      const begun = performance.now();
      const ended = await this.#watch(query, signal);
      if (signal.aborted) return;
      // The API server may have been replaced by one with other feature gates.
      if (ended.status === null) this.#probed = false;
      // What is refused or cut off again and again must not cost a list every second.
      if (performance.now() - begun > longestRetryMs) watches.reset();
      const words = `the watch of ResourceSlices ended: ${ended.message}`;
      if (neverBegan(ended)) this.#options.log.warn(`${words}; what others change in them is seen late`);
      else this.#options.log.debug(words);
      await this.#pause(Math.max(watches.next(), ended.retryAfterMs ?? 0), signal);
    }
  }

  /** Reads the UID of the Node, which owns the slices. */
  async #introduce(signal: AbortSignal): Promise<ApiError | null> {
    if (this.#identity !== null) return null;
    const { client, driver, node, pool } = this.#options;
    const found = await client.call<KubernetesNode>("GET", nodePath(node), { signal });
    if (!found.ok) return found.error;
    const { uid = "" } = found.value.metadata;
    if (uid === "") throw new Error(`${nodePath(node)} has no UID`);
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
    if (!made.ok) return made.error.status === 404 ? { ...made.error, message: NO_RESOURCE_API } : made.error;
    this.#setFeatures(without(ALL_FEATURES, droppedFields(body.spec, made.value.spec)));
    this.#probed = true;
    return null;
  }

  async #list(query: Record<string, string>, signal: AbortSignal): Promise<ApiError | null> {
    const listed = await this.#options.client.call<ObjectList<ResourceSlice>>("GET", SLICES_PATH, { query, signal });
    if (!listed.ok) return listed.error;
    const found = new Map(listed.value.items.map((one) => [one.metadata.name!, one]));
    // Deleted unseen, perhaps with a Node that was created again since.
    if ([...this.#existing.keys()].some((name) => !found.has(name))) this.#identity = null;
    this.#existing.clear();
    for (const [name, slice] of found) this.#existing.set(name, slice);
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
      // Not one that this process removed itself, and not late, when a slice of this name was created since.
      else if (known !== undefined && known.metadata.uid === object.metadata.uid) {
        this.#existing.delete(name);
        // The garbage collector does it when the Node was deleted and created again; the owner's UID is another one then.
        this.#identity = null;
        this.#options.log.info(`ResourceSlice ${name} was deleted; the kubelet does that when it starts`);
      }
      this.#changed();
    };
    while (true) {
      const { watchSeconds, silentMs } = this.#timing;
      const full = { ...query, resourceVersion: this.#version, allowWatchBookmarks: true };
      const started = performance.now();
      const { client } = this.#options;
      const error = await client.watch<ResourceSlice>(SLICES_PATH, full, watchSeconds, onEvent, signal, silentMs);
      if (error !== null) return error;
      if (signal.aborted) return { status: null, reason: "Stopped", message: "stopped", retryAfterMs: null };
      // Limits the rate of requests to a server that ends each watch at once.
      const lasted = performance.now() - started;
      if (lasted < this.#timing.firstRetryMs) await this.#pause(this.#timing.firstRetryMs - lasted, signal);
    }
  }

  async #write(signal: AbortSignal): Promise<void> {
    const backoff = new Backoff(this.#timing.firstRetryMs, this.#timing.longestRetryMs);
    while (true) {
      await this.#kick.promise;
      if (signal.aborted) return;
      this.#kick = Promise.withResolvers<void>();
      if (!this.#listed || this.#wanted === null) continue;
      const wanted = this.#wanted;
      const error = await this.#guard(async () =>
        await this.#introduce(signal) ?? await this.#round(wanted, this.#identity!, signal)
      );
      if (error === null) {
        backoff.reset();
        await this.#pause(this.#timing.roundMs, signal);
      } else {
        if (signal.aborted) return;
        this.#report({ published: false, reason: error.message });
        this.#changed();
        await this.#pause(Math.max(backoff.next(), error.retryAfterMs ?? 0), signal);
      }
    }
  }

  /** Compares the slices and makes the necessary writes. */
  async #round(wanted: Wanted, identity: PoolIdentity, signal: AbortSignal): Promise<ApiError | null> {
    const existing = [...this.#existing.values()];
    const known = new Map([...publishedAttributes(existing), ...this.#known]);
    const made = publish({ ...wanted, features: this.#features, known });
    for (const { name, attributes = {} } of made.devices) this.#known.set(name, attributes);
    for (const [name, taints] of publishedTaints(existing)) this.#taints.set(name, taints);
    const writes = planWrites(existing, contents(made), identity, this.#taints);
    if (writes.length > 0 && await this.#standsBy(signal)) return null;
    for (const write of writes) {
      const error = await this.#apply(write, signal);
      // The plan is out of date; its remaining writes would mix two states of the pool.
      if (error === "stale" || signal.aborted) return null;
      if (error !== null) return error;
    }
    this.#report({ published: true, reason: null, devices: made.devices.length, notes: made.notes });
    return null;
  }

  /** Whether a newer process writes the slices; checks again later. */
  async #standsBy(signal: AbortSignal): Promise<boolean> {
    const before = this.#successor;
    this.#successor = await this.#options.successor?.() ?? null;
    if (this.#successor === null) return false;
    if (this.#successor !== before) {
      this.#options.log.info(
        `a newer process of the driver serves on ${this.#successor}: it writes the ResourceSlices`,
      );
    }
    this.#standby ??= this.#pause(this.#timing.standbyMs, signal).then(() => {
      this.#standby = null;
      this.#changed();
    });
    return true;
  }

  /** Turns exceptions into errors, which are retried: something else than an API server may answer. */
  async #guard(work: () => Promise<ApiError | null>): Promise<ApiError | null> {
    try {
      return await work();
    } catch (error) {
      const words = error instanceof Error ? error.message : String(error);
      const message = `${this.#options.client.server} sent an answer that no API server sends: ${words}`;
      return { status: null, reason: "Malformed", message, retryAfterMs: null };
    }
  }

  async #apply(write: Write, signal: AbortSignal): Promise<ApiError | "stale" | null> {
    const { client, log } = this.#options;
    if (write.kind === "delete") {
      const before = this.#existing.get(write.name);
      // Before the request: its event may come before its answer.
      this.#existing.delete(write.name);
      const deleted = await client.call("DELETE", `${SLICES_PATH}/${write.name}`, { signal });
      if (deleted.ok || deleted.error.status === 404) return null;
      if (before !== undefined) this.#existing.set(write.name, before);
      return deleted.error;
    }
    const name = write.slice.metadata.name!;
    const [method, path] = write.kind === "create"
      ? ["POST", SLICES_PATH] as const
      : ["PUT", `${SLICES_PATH}/${name}`] as const;
    const written = await client.call<ResourceSlice>(method, path, { body: write.slice, signal });
    this.#report({ writes: this.#status.writes + 1 });
    if (written.ok) {
      const dropped = droppedFields(write.slice.spec, written.value.spec);
      if (written.value.metadata.name !== name) throw new Error(`it has no ResourceSlice ${name}`);
      this.#existing.set(name, written.value);
      this.#setFeatures(without(this.#features, dropped));
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
    return "stale";
  }

  /** Records which fields the API server keeps, so that the next round does not rely on the others. */
  #setFeatures(features: Features): void {
    const before = this.#features;
    if (isDeepStrictEqual(features, before)) return;
    this.#features = features;
    this.#report({ features });
    const off = gatesOff(features);
    const { log } = this.#options;
    if (off.length === 0) log.info("the API server keeps all fields of ResourceSlices now");
    else {
      log.warn(
        `the API server drops fields of ResourceSlices (${off.join(", ")} off): ` +
          "devices that must not be offered without them are left out",
      );
    }
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

/** Whether the server did not let the watch begin. An expired version is no refusal. */
function neverBegan({ status }: ApiError): boolean {
  return status !== null && status !== 410;
}
