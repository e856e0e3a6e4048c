/**
 * A kubelet reduced to its device manager, which behaves like the real one: it serves Registration on `kubelet.sock`,
 * dials back inside the call, keeps one ListAndWatch stream per resource, computes capacity and allocatable, admits
 * pods, writes its checkpoint, and can be stopped and restarted. Faults that a plugin must handle can be injected.
 *
 * @example
 * ```ts
 * const kubelet = new FakeKubelet({ dir: "/tmp/device-plugins" });
 * await kubelet.start();
 * await kubelet.waitFor((state) => state.resources["example.com/rdma"]?.allocatable === 2, { what: "two devices" });
 * const pod = await kubelet.admit({ name: "mpi-0", resource: "example.com/rdma", count: 1 });
 * await kubelet.close();
 * ```
 *
 * @module
 */
import { mkdirSync, readdirSync, rmSync } from "node:fs";
import { join } from "node:path";
import { setTimeout as delay } from "node:timers/promises";
import type { ContainerAllocateResponse } from "../../src/kubelet/api.ts";
import { Admission, type AdmittedPod, type PodRequest } from "./admission.ts";
import { CHECKPOINT, type Checkpoint, readCheckpoint, writeCheckpoint } from "./checkpoint.ts";
import { type DevicePluginOptions, DIAL_TIMEOUT_MS, PluginEndpoint, type PreferenceQuestion } from "./endpoint.ts";
import { History, type KubeletEvent, type Via, type WaitOptions } from "./history.ts";
import { idsOf } from "./allocations.ts";
import { endpointFault, resourceNameFault, versionFault } from "./names.ts";
import { type EndpointKeys, Resources } from "./resources.ts";
import { KubeletSocket, type Registration } from "./socket.ts";
import { PluginWatcher } from "./watcher.ts";
import { describe, inOneLine, type KubeletState } from "./format.ts";
import { DraManager } from "./dra.ts";
import { PodResourcesServer } from "./pod_resources.ts";

export { AdmissionError, type AdmittedPod, type PodRequest } from "./admission.ts";
export type { ContainerDevice, ContainerMount, ContainerView } from "./cdi.ts";
export type { DevicePluginOptions, PreferenceQuestion } from "./endpoint.ts";
export type { KubeletEvent, KubeletHappening, Via, WaitOptions } from "./history.ts";
export type { Allocation, DeviceState } from "./allocations.ts";
export type { ResourceState } from "./resources.ts";
export type { KubeletState } from "./format.ts";

/** Milliseconds. A resource without a plugin is removed from the node after this time. */
const ENDPOINT_TTL_MS = 5 * 60_000;

export interface FakeKubeletOptions {
  /** The device-plugins directory; created if necessary, emptied at every start. */
  readonly dir: string;
  /** The plugins_registry directory; without it there is no plugin watcher. */
  readonly pluginsRegistry?: string;
  /** Directories of CDI specs; without them CDI names are not resolved. */
  readonly cdiDirs?: readonly string[];
  /** Milliseconds for dialling a plugin; default 10,000 as in the kubelet. */
  readonly dialTimeoutMs?: number;
  /** Milliseconds that a resource without plugin is kept; default 5 minutes as in the kubelet. */
  readonly endpointTtlMs?: number;
  /** How plugins of one resource are distinguished: not at all (up to 1.36, the default), or by "path" (since 1.37). */
  readonly endpointKeys?: EndpointKeys;
  /** Where to serve PodResources; omitted for nowhere. */
  readonly podResourcesSocket?: string;
  /** Enables the DRA manager; `wipe` deletes the node's ResourceSlices, of one driver or (null) of all. */
  readonly dra?: { readonly wipe: (driver: string | null) => void; readonly wipeMs?: number };
  /** Called with one line of text per event. */
  readonly log?: (line: string) => void;
}

/** The state of one kubelet process. */
interface Process {
  readonly socket: KubeletSocket;
  readonly watcher: PluginWatcher | null;
  readonly podResources: PodResourcesServer | null;
}

export class FakeKubelet {
  readonly #options: FakeKubeletOptions;
  /** What the next registrations are refused with. */
  #refusal = { reason: "", left: 0 };
  /** Milliseconds that the next Register calls are delayed by. */
  #delay = { ms: 0, left: 0 };
  readonly #history: History;
  readonly #resources: Resources;
  readonly #admission: Admission;
  readonly #underway = new Set<Promise<unknown>>();
  /** Null without the option `dra`. */
  readonly dra: DraManager | null;
  #process: Process | null = null;
  #life = new AbortController();
  #admitting: Promise<unknown> = Promise.resolve();

  constructor(options: FakeKubeletOptions) {
    this.#options = options;
    this.#history = new History((event) => options.log?.(inOneLine(event)));
    this.#resources = new Resources({
      history: this.#history,
      endpointTtlMs: options.endpointTtlMs ?? ENDPOINT_TTL_MS,
      endpointKeys: options.endpointKeys ?? "resource",
      changed: () => this.#persist(),
    });
    this.dra = options.dra === undefined ? null : new DraManager({
      ...options.dra,
      cdiDirs: options.cdiDirs ?? [],
      dialTimeoutMs: options.dialTimeoutMs ?? DIAL_TIMEOUT_MS,
      ...options.log === undefined ? {} : { log: options.log },
    });
    this.#admission = new Admission({
      resources: this.#resources,
      history: this.#history,
      cdiDirs: options.cdiDirs ?? null,
      persist: () => this.#persist(),
    });
  }

  /** All events, oldest first, including those before restarts. */
  get history(): readonly KubeletEvent[] {
    return this.#history.events;
  }

  /**
   * Empties the device-plugins directory except for the checkpoint, reads the checkpoint, and listens on kubelet.sock
   * (and watches plugins_registry).
   */
  async start(): Promise<void> {
    if (this.#process !== null) throw new Error("Cannot start the fake kubelet: it is already running");
    const { dir, pluginsRegistry } = this.#options;
    this.#life = new AbortController();
    mkdirSync(dir, { recursive: true });
    for (const entry of readdirSync(dir, { withFileTypes: true })) {
      if (entry.name !== CHECKPOINT && !entry.isDirectory()) rmSync(join(dir, entry.name), { force: true });
    }
    this.#recall();
    const socket = await KubeletSocket.listen(dir, (request) => this.#track(this.#register(request)));
    const watcher = pluginsRegistry === undefined ? null : this.#watcher(pluginsRegistry);
    const { podResourcesSocket: pods } = this.#options;
    const held = () => this.#admission.allocations;
    const podResources = pods === undefined ? null : await PodResourcesServer.listen(pods, held, this.dra);
    this.#process = { socket, watcher, podResources };
    this.dra?.start();
    this.#history.record({ kind: "listening" });
    watcher?.start();
  }

  /**
   * Stops as if killed: all connections and pending calls are cut. kubelet.sock is removed in an orderly stop and
   * "stays" after a kill. Devices are forgotten; allocations are restored from the checkpoint at the next start.
   */
  async stop({ socket = "goes" }: { readonly socket?: "stays" | "goes" } = {}): Promise<void> {
    const process = this.#process;
    if (process === null) return;
    this.#process = null;
    this.#life.abort();
    const cleared = Promise.all([this.#resources.clear(), this.dra?.stop()]);
    process.podResources?.close();
    await process.socket.close(socket);
    await cleared;
    await process.watcher?.stop();
    this.#history.record({ kind: "stopped", socket });
  }

  /** Stops and starts again, as `systemctl restart kubelet` does. */
  async restart(options: { readonly socket?: "stays" | "goes" } = {}): Promise<void> {
    await this.stop(options);
    await this.start();
  }

  /** Stops, waits for pending work and fails pending waits. The directories are kept. */
  async close(): Promise<void> {
    await this.stop();
    await Promise.allSettled(this.#underway);
    // Connections that were refused meanwhile.
    await this.#resources.clear();
    this.#history.close();
  }

  [Symbol.asyncDispose](): Promise<void> {
    return this.close();
  }

  /** The current state. */
  state(): KubeletState {
    return {
      running: this.#process !== null,
      resources: this.#resources.all(),
      allocations: this.#admission.allocations.map((allocation) => ({
        pod: allocation.pod,
        container: allocation.container,
        resource: allocation.resource,
        ids: idsOf(allocation),
      })),
    };
  }

  /**
   * Resolves with the first truthy value of `predicate`, which is called now and after every event; never polls.
   *
   * @throws Error with the condition and the current state, after `timeoutMs` (60,000).
   */
  waitFor<T>(
    predicate: (state: KubeletState, history: readonly KubeletEvent[]) => T | false | null | undefined,
    options: WaitOptions = {},
  ): Promise<T> {
    return this.#history.wait(
      () => predicate(this.state(), this.history),
      () => describe(this.state(), this.history),
      options,
    );
  }

  /**
   * Allocates devices to a container with all calls of the real kubelet; one pod after the other. A container that
   * already holds devices is restarted with the same ones.
   *
   * @throws AdmissionError with the plugin's message when it rejected the call.
   */
  admit(pod: PodRequest): Promise<AdmittedPod> {
    const turn = this.#admitting.then(() => this.#admission.admit(pod));
    // The next pod follows regardless of the outcome, which the caller gets.
    this.#admitting = turn.catch(() => undefined);
    return this.#track(turn);
  }

  /** Removes the pod and frees its devices. True when it held any. */
  release(pod: string): boolean {
    return this.#admission.release(pod);
  }

  /** A single Allocate call with any IDs and any number of container requests; nothing is recorded. */
  allocate(
    resource: string,
    containerRequests: readonly (readonly string[])[],
  ): Promise<readonly ContainerAllocateResponse[]> {
    return this.#track(this.#endpoint(resource).allocate(containerRequests));
  }

  /** A single GetPreferredAllocation call; returns the answers unfiltered. */
  preferred(resource: string, questions: readonly PreferenceQuestion[]): Promise<readonly (readonly string[])[]> {
    return this.#track(this.#endpoint(resource).preferred(questions));
  }

  /** A single PreStartContainer call. */
  preStart(resource: string, ids: readonly string[]): Promise<void> {
    return this.#track(this.#endpoint(resource).preStart(ids));
  }

  /** A single GetDevicePluginOptions call. */
  options(resource: string): Promise<DevicePluginOptions> {
    return this.#track(this.#endpoint(resource).options());
  }

  /** Rejects the next `times` registrations (default: all), by call or by watcher, with this message. */
  refuse(reason: string, { times = Infinity }: { readonly times?: number } = {}): void {
    this.#refusal = { reason, left: times };
  }

  /** Delays the next `times` Register calls (default: all) by `ms` milliseconds. */
  slow(ms: number, { times = Infinity }: { readonly times?: number } = {}): void {
    this.#delay = { ms, left: times };
  }

  /** Cancels the ListAndWatch stream of a resource; its devices become unhealthy and the connection is closed. */
  dropStream(resource: string): void {
    this.#endpoint(resource).cancelWatch();
  }

  /** The reason when this registration, which is counted, is one to refuse. */
  #injectedRefusal(): string | null {
    return this.#refusal.left-- > 0 ? this.#refusal.reason : null;
  }

  async #register(request: Registration): Promise<void> {
    const { version, endpoint, resource_name: resource } = request;
    this.#history.record({ kind: "register", resource, endpoint, version });
    const { signal } = this.#life;
    const injected = this.#injectedRefusal();
    if (this.#delay.left-- > 0) await delay(this.#delay.ms, undefined, { signal });
    const refusal = versionFault([version]) ?? resourceNameFault(resource) ?? endpointFault(endpoint) ?? injected;
    if (refusal !== null) this.#refused(resource, endpoint, "register", refusal);
    await this.#connect(resource, join(this.#options.dir, endpoint), "register", signal);
  }

  /** Dials the plugin and makes it the endpoint of its resource; opens its stream after the caller was answered. */
  async #connect(resource: string, socket: string, via: Via, signal: AbortSignal): Promise<void> {
    const { dialTimeoutMs = DIAL_TIMEOUT_MS } = this.#options;
    let endpoint: PluginEndpoint | null = null;
    try {
      endpoint = await PluginEndpoint.connect(socket, dialTimeoutMs, signal);
      const options = await endpoint.options(via === "register" ? dialTimeoutMs : undefined);
      signal.throwIfAborted();
      this.#resources.adopt(resource, endpoint, options, via);
    } catch (error) {
      if (endpoint !== null) this.#resources.close(endpoint);
      this.#refused(resource, socket, via, error instanceof Error ? error.message : String(error));
    }
    const connected = endpoint;
    queueMicrotask(() => this.#resources.watch(resource, connected));
  }

  #refused(resource: string, endpoint: string, via: Via, reason: string): never {
    this.#history.record({ kind: "refused", resource, endpoint, via, reason });
    throw new Error(reason);
  }

  #watcher(dir: string): PluginWatcher {
    mkdirSync(dir, { recursive: true });
    const { signal } = this.#life;
    return new PluginWatcher(dir, this.#options.dialTimeoutMs ?? DIAL_TIMEOUT_MS, signal, {
      register: async ({ resource, endpoint, versions }) => {
        const injected = this.#injectedRefusal();
        const refusal = versionFault(versions) ?? resourceNameFault(resource) ?? injected;
        if (refusal !== null) this.#refused(resource, endpoint, "watcher", refusal);
        await this.#connect(resource, endpoint, "watcher", signal);
      },
      ...this.dra === null ? {} : { registerDra: (found) => this.dra!.register(found) },
      deregister: (resource, socket) => {
        this.dra?.deregister(resource, socket);
        const endpoint = this.#resources.endpoint(resource);
        if (endpoint?.socket !== socket) return;
        this.#resources.disconnect(resource, endpoint, "the registration socket is gone");
      },
      log: (line) => this.#options.log?.(line),
    });
  }

  #recall(): void {
    let checkpoint: Checkpoint | null = null;
    try {
      checkpoint = readCheckpoint(this.#options.dir);
    } catch (error) {
      // As in the real kubelet, an unusable checkpoint is logged and ignored.
      this.#options.log?.(error instanceof Error ? error.message : String(error));
    }
    this.#admission.load(checkpoint?.allocations ?? []);
    for (const name of Object.keys(checkpoint?.registered ?? {})) this.#resources.remember(name);
  }

  #persist(): void {
    writeCheckpoint(this.#options.dir, {
      allocations: this.#admission.allocations,
      registered: this.#resources.healthyIds(),
    });
  }

  #endpoint(resource: string): PluginEndpoint {
    const endpoint = this.#resources.endpoint(resource);
    if (endpoint !== null) return endpoint;
    throw new Error(`Cannot call the plugin of ${resource}: none is connected. ${describe(this.state(), [])}`);
  }

  #track<T>(work: Promise<T>): Promise<T> {
    const settled = work.catch(() => undefined).finally(() => this.#underway.delete(settled));
    this.#underway.add(settled);
    return work;
  }
}
