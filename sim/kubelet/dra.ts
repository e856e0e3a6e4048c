/**
 * The kubelet's DRA manager: drivers that registered, claims of pods prepared and unprepared, health of devices, and
 * the wiping of ResourceSlices when a driver stays away. What the real one does is in kubernetes `pkg/kubelet/cm/dra`.
 *
 * @module
 */
import { type Client, type ClientReadableStream } from "@grpc/grpc-js";
import type { Device as PreparedDevice } from "../../src/gen/k8s/io/kubelet/pkg/apis/dra/v1/Device.ts";
import type { NodePrepareResourcesRequest } from "../../src/gen/k8s/io/kubelet/pkg/apis/dra/v1/NodePrepareResourcesRequest.ts";
import type { NodePrepareResourcesResponse__Output } from "../../src/gen/k8s/io/kubelet/pkg/apis/dra/v1/NodePrepareResourcesResponse.ts";
import type { NodeUnprepareResourcesResponse__Output } from "../../src/gen/k8s/io/kubelet/pkg/apis/dra/v1/NodeUnprepareResourcesResponse.ts";
import type { NodeWatchResourcesResponse__Output } from "../../src/gen/v1alpha1/NodeWatchResourcesResponse.ts";
import { draServices, healthServices, method } from "../../src/kubelet/api.ts";
import { Waits } from "../waits.ts";
import { type ContainerView, injectCdi } from "./cdi.ts";
import { closeClient } from "../../src/kubelet/local_client.ts";
import { dial, unary } from "./dial.ts";

/** Milliseconds after which the slices of a driver that went away are deleted. */
const WIPE_MS = 30_000;
/** Milliseconds for one call to a driver. */
const CALL_MS = 45_000;
/** Seconds after which a report of health is stale, unless it says otherwise. */
const HEALTH_SECONDS = 30;

export interface ClaimOfPod {
  readonly namespace: string;
  readonly name: string;
  readonly uid: string;
  /** The driver whose devices it has; the real kubelet reads it from the allocation. */
  readonly driver: string;
}

/** A pod that may start. */
export interface DraPod {
  readonly name: string;
  readonly devices: readonly PreparedDevice[];
  /** What a container that names all its claims sees. */
  readonly view: ContainerView;
}

export interface DeviceHealth {
  readonly health: string;
  readonly message: string;
  readonly at: number;
  readonly timeoutSeconds: number;
}

interface Plugin {
  readonly driver: string;
  readonly endpoint: string;
  readonly client: Client;
  stream: ClientReadableStream<NodeWatchResourcesResponse__Output> | null;
}

export interface DraManagerOptions {
  readonly cdiDirs: readonly string[];
  /** Deletes the node's ResourceSlices: of one driver, or of all. */
  readonly wipe: (driver: string | null) => void;
  readonly dialTimeoutMs: number;
  readonly wipeMs?: number;
  readonly log?: (line: string) => void;
}

const EMPTY: ContainerView = { devices: [], mounts: [], envs: {}, annotations: {} };

export class DraManager {
  readonly #options: DraManagerOptions;
  readonly #plugins: Plugin[] = [];
  readonly #pods = new Map<string, { claims: readonly ClaimOfPod[]; devices: readonly PreparedDevice[] }>();
  /** Claims that could not be unprepared because their driver was away. */
  readonly #owed = new Map<string, ClaimOfPod>();
  readonly #health = new Map<string, DeviceHealth>();
  readonly #wipes = new Map<string, ReturnType<typeof setTimeout>>();
  readonly #waits = new Waits();
  #life = new AbortController();
  /** When the last connections are closed. */
  #hungUp: Promise<void> = Promise.resolve();
  /** Health reports that came, and registrations. */
  reports = 0;
  registrations = 0;

  constructor(options: DraManagerOptions) {
    this.#options = options;
  }

  /** A kubelet that starts deletes all slices of its node before any driver is back. */
  start(): void {
    this.#life = new AbortController();
    this.#options.wipe(null);
  }

  async stop(): Promise<void> {
    this.#life.abort();
    for (const timer of this.#wipes.values()) clearTimeout(timer);
    this.#wipes.clear();
    for (const plugin of this.#plugins.splice(0)) this.#hangUp(plugin);
    this.#health.clear();
    await this.#hungUp;
  }

  async register({ driver, endpoint, versions }: { driver: string; endpoint: string; versions: readonly string[] }) {
    if (!versions.includes("v1.DRAPlugin")) throw new Error(`none of ${versions.join(", ")} is known here`);
    if (this.#plugins.some((one) => one.driver === driver && one.endpoint === endpoint)) {
      throw new Error(`endpoint ${endpoint} already registered for DRA driver plugin ${driver}`);
    }
    const { signal } = this.#life;
    const client = await dial(endpoint, this.#options.dialTimeoutMs, signal);
    signal.throwIfAborted();
    const plugin: Plugin = { driver, endpoint, client, stream: null };
    this.#plugins.push(plugin);
    this.registrations++;
    clearTimeout(this.#wipes.get(driver));
    this.#wipes.delete(driver);
    this.#watch(plugin);
    this.#options.log?.(`DRA driver ${driver} registered at ${endpoint}`);
    for (const claim of [...this.#owed.values()]) {
      if (claim.driver === driver) void this.#unprepare(claim).catch(() => {});
    }
    this.#waits.changed();
  }

  deregister(driver: string, endpoint: string): void {
    const at = this.#plugins.findIndex((one) => one.driver === driver && one.endpoint === endpoint);
    if (at < 0) return;
    this.#hangUp(this.#plugins[at]!);
    this.#plugins.splice(at, 1);
    this.#left(driver);
  }

  /** The drivers that are registered, newest last. */
  get drivers(): readonly string[] {
    return this.#plugins.map((one) => one.driver);
  }

  get owed(): number {
    return this.#owed.size;
  }

  /**
   * Prepares a pod's claims as one call for each driver, and gives it what the runtime would. @throws with the driver's
   * words
   */
  async runPod(name: string, claims: readonly ClaimOfPod[]): Promise<DraPod> {
    const devices: PreparedDevice[] = [];
    // From the first try on the pod cannot end without the driver.
    this.#pods.set(name, { claims, devices });
    for (const [driver, ours] of Map.groupBy(claims, (one) => one.driver)) {
      const service = draServices()["k8s.io.kubelet.pkg.apis.dra.v1.DRAPlugin"];
      const request: NodePrepareResourcesRequest = {
        claims: ours.map(({ namespace, name, uid }) => ({ namespace, name, uid })),
      };
      const prepare = method<NodePrepareResourcesRequest, NodePrepareResourcesResponse__Output>(
        service,
        "NodePrepareResources",
      );
      const { claims: answers } = await unary(
        this.#plugin(driver).client,
        prepare,
        request,
        this.#life.signal,
        CALL_MS,
      );
      const asked = new Set(ours.map((one) => one.uid));
      const other = Object.keys(answers).find((uid) => !asked.has(uid));
      if (other !== undefined) throw new Error(`the driver answered for claim ${other}, which was not asked for`);
      for (const { uid, name } of ours) {
        const answer = answers[uid];
        if (answer === undefined) throw new Error(`NodePrepareResources skipped claim ${name}`);
        if (answer.error !== "") throw new Error(`FailedPrepareDynamicResources: ${answer.error}`);
        devices.push(...answer.devices);
      }
    }
    this.#waits.changed();
    const ids = devices.flatMap((one) => one.cdi_device_ids ?? []);
    return { name, devices, view: injectCdi(EMPTY, ids, this.#options.cdiDirs) };
  }

  /** The pod is deleted: its claims are unprepared, now or when the driver is back. */
  async removePod(name: string): Promise<void> {
    const pod = this.#pods.get(name);
    this.#pods.delete(name);
    for (const claim of pod?.claims ?? []) {
      if ([...this.#pods.values()].some((one) => one.claims.some((other) => other.uid === claim.uid))) continue;
      this.#owed.set(claim.uid, claim);
      await this.#unprepare(claim);
    }
  }

  /** Unprepares what is owed, as the real one does once a minute. @throws when a driver cannot be had */
  async reconcile(): Promise<void> {
    for (const claim of [...this.#owed.values()]) await this.#unprepare(claim);
  }

  /** What the pod's status would say of a device; null when nothing was reported. */
  health(pool: string, device: string, now = Date.now()): DeviceHealth | null {
    const found = this.#health.get(`${pool}/${device}`);
    if (found === undefined) return null;
    return now - found.at > found.timeoutSeconds * 1_000 ? { ...found, health: "UNKNOWN" } : found;
  }

  /** For PodResources. */
  dynamicResources(): readonly {
    readonly pod: string;
    readonly claim: ClaimOfPod;
    readonly devices: readonly PreparedDevice[];
  }[] {
    return [...this.#pods].flatMap(([pod, { claims, devices }]) => claims.map((claim) => ({ pod, claim, devices })));
  }

  /** Resolves when the predicate holds; asked after everything that happens. */
  async waitFor(predicate: () => boolean, what: string, timeoutMs?: number): Promise<void> {
    await this.#waits.until(predicate, what, timeoutMs);
  }

  async #unprepare(claim: ClaimOfPod): Promise<void> {
    const service = draServices()["k8s.io.kubelet.pkg.apis.dra.v1.DRAPlugin"];
    const unprepare = method<NodePrepareResourcesRequest, NodeUnprepareResourcesResponse__Output>(
      service,
      "NodeUnprepareResources",
    );
    const { namespace, name, uid } = claim;
    const request = { claims: [{ namespace, name, uid }] };
    const { claims } = await unary(this.#plugin(claim.driver).client, unprepare, request, this.#life.signal, CALL_MS);
    const answer = claims[uid];
    if (answer === undefined) throw new Error(`NodeUnprepareResources skipped claim ${name}`);
    if (answer.error !== "") throw new Error(answer.error);
    this.#owed.delete(uid);
    this.#waits.changed();
  }

  /** The one that registered last and is connected; one that was killed leaves its socket behind. */
  #plugin(driver: string): Plugin {
    const ours = this.#plugins.filter((one) => one.driver === driver);
    const found = ours.findLast((one) => one.stream !== null) ?? ours.at(-1);
    if (found === undefined) throw new Error(`DRA driver ${driver} is not registered`);
    return found;
  }

  #watch(plugin: Plugin): void {
    const service = healthServices()["v1alpha1.DRAResourceHealth"];
    const { path, requestSerialize, responseDeserialize } = method<object, NodeWatchResourcesResponse__Output>(
      service,
      "NodeWatchResources",
    );
    const stream = plugin.client.makeServerStreamRequest(path, requestSerialize, responseDeserialize, {});
    plugin.stream = stream;
    stream.on("data", ({ devices }: NodeWatchResourcesResponse__Output) => {
      this.reports++;
      for (const one of devices) {
        this.#health.set(`${one.device?.pool_name}/${one.device?.device_name}`, {
          health: one.health,
          message: one.message,
          at: Date.now(),
          timeoutSeconds: one.health_check_timeout_seconds > 0 ? one.health_check_timeout_seconds : HEALTH_SECONDS,
        });
      }
      this.#waits.changed();
    });
    const end = () => {
      // The real one drops what a driver reported as soon as its stream ends, and its slices some time later.
      if (plugin.stream !== stream) return;
      plugin.stream = null;
      this.#health.clear();
      this.#left(plugin.driver);
      this.#waits.changed();
    };
    stream.on("error", end);
    stream.on("end", end);
  }

  #left(driver: string): void {
    this.#waits.changed();
    if (this.#plugins.some((one) => one.driver === driver && one.stream !== null) || this.#life.signal.aborted) return;
    if (this.#wipes.has(driver)) return;
    this.#wipes.set(
      driver,
      setTimeout(() => {
        this.#wipes.delete(driver);
        this.#options.wipe(driver);
      }, this.#options.wipeMs ?? WIPE_MS),
    );
  }

  #hangUp(plugin: Plugin): void {
    const { stream } = plugin;
    plugin.stream = null;
    stream?.cancel();
    const earlier = this.#hungUp;
    this.#hungUp = closeClient(plugin.client).then(() => earlier);
  }
}
