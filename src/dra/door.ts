/**
 * The DRA driver: offers HCAs as ResourceSlices and prepares claims, with the same selection and health as the device
 * plugin. Wiring and life cycle.
 *
 *     inventory ─► devices ─► publisher ─► API server        kubelet ─► server ─► claims ─► records, CDI files
 *                     └─────► health streams ─► kubelet
 *
 * @module
 */
import { lstatSync, rmSync } from "node:fs";
import { join } from "node:path";
import { exists } from "../hca/files.ts";
import type { Hca, Snapshot } from "../hca/types.ts";
import { isServed } from "../kubelet/socket_probe.ts";
import type { PodLister, PodsAnswer } from "../kubelet/pod_resources.ts";
import type { ApiClient } from "../kubernetes/client.ts";
import { claimPath, type ResourceClaim } from "../kubernetes/resource_api.ts";
import type { HostFacts } from "../pool/allocate.ts";
import type { PoolStates } from "../pool/states.ts";
import type { Log } from "../text/log.ts";
import { ClaimFiles } from "./claim_files.ts";
import type { ClaimRecord } from "./claim_record.ts";
import { Claims, type Machine } from "./claims.ts";
import { type DraDevice, draDevices } from "./devices.ts";
import { FlapMemory } from "./flaps.ts";
import { healthList, HealthStreams } from "./health.ts";
import { heldHcas } from "./holders.ts";
import { Publisher, type PublisherStatus, type PublisherTiming } from "./publisher.ts";
import { listenDra, listenRegistration, type SocketServer } from "./server.ts";
import { namesIn } from "../kubelet/files.ts";

/** An answer for one claim: the kubelet's method, how long it took, and the reason when it was refused. */
export type OnAnswer = (
  method: "NodePrepareResources" | "NodeUnprepareResources",
  seconds: number,
  refused: string | null,
) => void;

export interface DraOptions {
  readonly driver: string;
  readonly node: string;
  readonly pool: string;
  readonly pluginsDir: string;
  readonly registryDir: string;
  readonly cdiDir: string;
  /** Part of the socket names if not empty, so that two processes can serve at once during a rolling update. */
  readonly podUid: string;
  readonly sysfsRoot: string;
  readonly client: ApiClient;
  /** Asks the kubelet which pods hold which devices. */
  readonly pods: Pick<PodLister, "list" | "close">;
  readonly log: Log;
  /** Scans the machine now; {@link DraDoor.update} has been called when it resolves. */
  readonly rescan: (detail: string) => Promise<void>;
  readonly onStatus?: () => void;
  /** Called when a claim was prepared or unprepared. */
  readonly onClaims?: () => void;
  /** Called with every answer to the kubelet, for one claim each. */
  readonly onAnswer?: OnAnswer;
  readonly timing?: Partial<DraTiming>;
}

export interface DraTiming extends PublisherTiming {
  /** Intervals of asking the kubelet which pods hold devices: while some do, and otherwise. */
  readonly heldMs: number;
  readonly podsMs: number;
  readonly retryMs: number;
  readonly drainMs: number;
  readonly resendMs: number;
  /** How long a prepare retries when the reason may be temporary. */
  readonly patienceMs: number;
}

const TIMING = { heldMs: 5_000, podsMs: 30_000, retryMs: 2_000, drainMs: 1_500, resendMs: 10_000, patienceMs: 25_000 };

/** Names of the sockets of the driver's processes in its directory. */
const SOCKET = /^dra.*\.sock$/;

/** The observable state of the driver. */
export interface DraStatus {
  readonly driver: string;
  readonly pool: string;
  readonly socket: string;
  readonly registered: boolean;
  /** Registrations that the kubelet accepted since the start. */
  readonly registrations: number;
  /** The kubelet's open health streams. */
  readonly healthStreams: number;
  /** Why it is not registered, or why the pods are unknown; null when neither is the case. */
  readonly reason: string | null;
  readonly publisher: PublisherStatus;
}

/** A running driver. */
export class DraDoor {
  readonly #options: DraOptions;
  readonly #timing: typeof TIMING;
  readonly #stop = new AbortController();
  readonly #files: ClaimFiles;
  readonly #claims: Claims;
  readonly #publisher: Publisher;
  readonly #health: HealthStreams;
  readonly #flaps = new FlapMemory();
  readonly #background = new Set<Promise<void>>();
  #states: PoolStates = new Map();
  #snapshot: Snapshot | null = null;
  #host: HostFacts = { rdmaCm: false, knem: false, has: () => false, ownersOf: () => [] };
  #devices: readonly DraDevice[] = [];
  #pods: (PodsAnswer & { ok: true }) | null = null;
  #heldBy: ReadonlyMap<string, string> = new Map();
  #dra: SocketServer | null = null;
  #registration: SocketServer | null = null;
  #registered = false;
  #registrations = 0;
  #serving: Promise<void> | null = null;
  #reason: string | null = "not started";
  #swept = false;
  #podsTimer: ReturnType<typeof setTimeout> | undefined;
  #retryTimer: ReturnType<typeof setTimeout> | undefined;
  #flapTimer: ReturnType<typeof setTimeout> | undefined;

  constructor(options: DraOptions) {
    this.#options = options;
    this.#timing = { ...TIMING, ...options.timing };
    const { driver, pool, log, client } = options;
    this.#files = new ClaimFiles(join(options.pluginsDir, driver), options.cdiDir, driver);
    this.#health = new HealthStreams(
      () => healthList(this.#devices, pool, Date.now(), this.claims),
      this.#timing.resendMs,
    );
    this.#publisher = new Publisher({
      client,
      driver,
      node: options.node,
      pool,
      log,
      onStatus: () => this.#report(),
      successor: () => newerSocket(join(options.pluginsDir, driver), this.#dra?.path ?? null),
      timing: options.timing ?? {},
    });
    this.#claims = new Claims({
      driver,
      pool,
      sysfsRoot: options.sysfsRoot,
      files: this.#files,
      log,
      getClaim: ({ namespace, name }) => client.call<ResourceClaim>("GET", claimPath(namespace, name)),
      heldBy: async () => {
        const answer = await options.pods.list();
        return answer.ok ? { ok: true, held: this.#heldIn(answer) } : answer;
      },
      machine: (): Machine => ({
        devices: new Map(this.#devices.map((one) => [one.name, one])),
        hcas: this.#hcas,
        host: this.#host,
      }),
      rescan: options.rescan,
      onChange: () => options.onClaims?.(),
      patienceMs: this.#timing.patienceMs,
    });
  }

  /** Starts the driver; {@link update} must have been called before. */
  start(): void {
    this.#inBackground(this.#publisher.run(this.#stop.signal));
    this.#inBackground(this.#askPods());
    this.kubeletDirChanged();
  }

  get status(): DraStatus {
    const { driver, pool } = this.#options;
    return {
      driver,
      pool,
      socket: this.#endpoint,
      registered: this.#registered,
      registrations: this.#registrations,
      healthStreams: this.#health.size,
      reason: this.#reason,
      publisher: this.#publisher.status,
    };
  }

  /** Claims prepared on this node by any process of the driver. */
  get claims(): readonly ClaimRecord[] {
    return this.#files.read().records;
  }

  /** Takes the result of a scan. */
  update(states: PoolStates, snapshot: Snapshot, host: HostFacts): void {
    const machineChanged = snapshot !== this.#snapshot;
    this.#states = states;
    this.#snapshot = snapshot;
    this.#host = host;
    this.#derive();
    // Device nodes may have been renumbered by a reboot or driver reload, and containers of prepared claims may
    // restart.
    if (machineChanged) this.#inBackground(this.#claims.refresh());
  }

  /** Creates sockets that are missing; called when the kubelet's directories may have changed. */
  kubeletDirChanged(): void {
    if (this.#stop.signal.aborted) return;
    this.#serving ??= this.#serve().finally(() => this.#serving = null);
  }

  /**
   * Removes the sockets and finishes calls in flight. Slices, records and CDI files stay, because pods still use them.
   */
  async close(): Promise<void> {
    this.#stop.abort();
    for (const timer of [this.#podsTimer, this.#retryTimer, this.#flapTimer]) clearTimeout(timer);
    await this.#serving;
    this.#health.close();
    this.#claims.close();
    await Promise.all([this.#registration, this.#dra].map((one) => one?.close(this.#timing.drainMs)));
    this.#options.client.close();
    await this.#options.pods.close();
    await Promise.all(this.#background);
  }

  get #suffix(): string {
    return this.#options.podUid === "" ? "" : `-${this.#options.podUid}`;
  }

  get #endpoint(): string {
    return join(this.#options.pluginsDir, this.#options.driver, `dra${this.#suffix}.sock`);
  }

  get #hcas(): readonly Hca[] {
    return [...this.#snapshot?.hcas ?? [], ...this.#snapshot?.inPodNetns ?? []];
  }

  /** Computes devices, taints and health, and publishes them. */
  #derive(): void {
    if (this.#snapshot === null) return;
    const { devices, notes } = draDevices(this.#states, this.#heldBy);
    const now = performance.now();
    const held = this.#flaps.update(devices.map(({ name, state }) => ({ name, healthy: state.healthy })), now);
    this.#devices = devices.map((one) => held.names.has(one.name) ? { ...one, flapping: true } : one);
    for (const note of notes) this.#options.log.debug(note);
    clearTimeout(this.#flapTimer);
    if (held.wakeAt !== null && !this.#stop.signal.aborted) {
      this.#flapTimer = setTimeout(() => this.#derive(), Math.max(1, held.wakeAt - now));
    }
    this.#health.send();
    // Nothing is published until it is known which HCAs pods already hold: they would be offered a second time.
    if (this.#pods === null) return;
    this.#publisher.want({ devices: this.#devices, netnsMode: this.#snapshot.netnsMode });
  }

  async #askPods(): Promise<void> {
    clearTimeout(this.#podsTimer);
    const answer = await this.#options.pods.list();
    if (this.#stop.signal.aborted) return;
    if (answer.ok) {
      const first = this.#pods === null;
      this.#pods = answer;
      this.#heldBy = this.#heldIn(answer);
      this.#derive();
      if (first) {
        this.#say(null);
        await this.#claims.refresh();
      }
      await this.#claims.removeAbandoned(answer.claimed);
      if (this.#stop.signal.aborted) return;
    } else if (this.#pods === null) {
      this.#say(`nothing is published before the kubelet has reported which HCAs pods have: ${answer.reason}`);
    }
    const { heldMs, podsMs, retryMs } = this.#timing;
    const wait = !answer.ok ? retryMs : this.#heldBy.size > 0 ? heldMs : podsMs;
    this.#podsTimer = setTimeout(() => this.#inBackground(this.#askPods()), wait);
  }

  #heldIn(answer: PodsAnswer & { ok: true }): ReadonlyMap<string, string> {
    return heldHcas(answer.holders, this.#states, this.#hcas);
  }

  #observe(method: Parameters<OnAnswer>[0], answer: Promise<string | null>): void {
    const begun = performance.now();
    const seconds = () => (performance.now() - begun) / 1e3;
    this.#inBackground(answer.then((refused) => this.#options.onAnswer?.(method, seconds(), refused)));
  }

  /** Creates the sockets that are missing. */
  async #serve(): Promise<void> {
    const { driver, registryDir, log } = this.#options;
    const endpoint = this.#endpoint;
    clearTimeout(this.#retryTimer);
    if (this.#stop.signal.aborted) return;
    try {
      if (!this.#swept) await this.#sweep();
      if (this.#dra?.inPlace !== true) {
        const old = this.#dra;
        this.#dra = await listenDra(endpoint, {
          prepare: (ref, call) => {
            const answer = this.#claims.prepare(ref, call);
            this.#observe("NodePrepareResources", answer.then((one) => one.ok ? null : one.reason));
            return answer;
          },
          unprepare: (ref) => {
            const answer = this.#claims.unprepare(ref);
            this.#observe("NodeUnprepareResources", answer);
            return answer;
          },
          watchHealth: (stream) => this.#health.add(stream),
        });
        if (old !== null) this.#inBackground(old.close(0));
        // Registering again makes the kubelet connect to the new socket.
        const registration = this.#registration;
        this.#registration = null;
        await registration?.close(0);
      }
      if (!exists(registryDir)) {
        throw new Error(`${registryDir} does not exist; it is the kubelet's plugins_registry`);
      }
      if (this.#registration?.inPlace !== true) {
        const old = this.#registration;
        this.#registration = await listenRegistration(
          join(registryDir, `${driver}${this.#suffix}-reg.sock`),
          driver,
          endpoint,
          (refused) => this.#kubeletSaid(refused),
        );
        if (old !== null) this.#inBackground(old.close(0));
        log.info(`the DRA driver is served on ${endpoint}`);
      }
    } catch (error) {
      if (this.#stop.signal.aborted) return;
      const reason = error instanceof Error ? error.message : String(error);
      if (reason !== this.#reason) log.error(`the DRA driver cannot be served: ${reason}`);
      this.#say(reason);
      this.#retryTimer = setTimeout(() => this.kubeletDirChanged(), this.#timing.retryMs);
    }
  }

  /** Removes sockets of processes that were killed: the kubelet would keep dialling them. */
  async #sweep(): Promise<void> {
    const { driver, pluginsDir, registryDir } = this.#options;
    this.#swept = true;
    await this.#files.alone(() => this.#files.removeLitter());
    const found = [
      ...namesIn(registryDir).filter((name) => name.startsWith(`${driver}-`) && name.endsWith("-reg.sock"))
        .map((name) => join(registryDir, name)),
      ...namesIn(join(pluginsDir, driver)).filter((name) => SOCKET.test(name))
        .map((name) => join(pluginsDir, driver, name)),
    ];
    for (const path of found) if (!await isServed(path)) rmSync(path, { force: true });
  }

  #kubeletSaid(refused: string | null): void {
    this.#registered = refused === null;
    if (refused === null) this.#registrations++;
    if (refused === null) this.#options.log.info(`the kubelet registered the DRA driver ${this.#options.driver}`);
    else this.#options.log.warn(`the kubelet refused the DRA driver: ${refused}`);
    this.#say(refused === null ? null : `the kubelet refused the registration: ${refused}`);
  }

  #say(reason: string | null): void {
    this.#reason = reason;
    this.#report();
  }

  #report(): void {
    this.#options.onStatus?.();
  }

  #inBackground(work: Promise<void>): void {
    const done = work.catch((error: unknown) => {
      this.#options.log.error(`the DRA driver: ${error instanceof Error ? error.stack ?? error.message : error}`);
    }).finally(() => this.#background.delete(done));
    this.#background.add(done);
  }
}

/** Path of a socket of another process of the driver that is newer than this one's and served; null when there is none. */
async function newerSocket(dir: string, own: string | null): Promise<string | null> {
  if (own === null) return null;
  const madeAt = (path: string) => lstatSync(path, { throwIfNoEntry: false })?.mtimeMs ?? -Infinity;
  for (const name of namesIn(dir).filter((one) => SOCKET.test(one))) {
    const path = join(dir, name);
    // The name decides when both have the same time.
    const newer = madeAt(path) - madeAt(own) || (path > own ? 1 : -1);
    if (path !== own && newer > 0 && await isServed(path)) return path;
  }
  return null;
}
