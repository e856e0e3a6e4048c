/**
 * The plugin: start-up, the loop from trigger to kubelet, reload and shutdown. The only file that knows everybody.
 *
 *     triggers ─► looks ─► select ─► track ─► offers ─► sessions ─► kubelet
 *
 * @module
 */
import { existsSync } from "node:fs";
import { CdiFiles } from "../kubelet/cdi_files.ts";
import { heldDevices } from "../kubelet/checkpoint.ts";
import { Discovery, type DiscoverySources } from "../hca/discover.ts";
import { OutOfFiles } from "../hca/files.ts";
import { type EventSource, trigger } from "../hca/events/trigger.ts";
import type { NetnsMode, Snapshot } from "../hca/types.ts";
import { type Codec, protoCodec } from "../device_plugin/codec.ts";
import { watchDirectory } from "../kubelet/directory_watch.ts";
import { type RegistrationMode, Session, type SessionStatus, type Timing } from "../device_plugin/session.ts";
import { RescanLoop, type Scan } from "./rescan_loop.ts";
import type { Log } from "../text/log.ts";
import { DevicePluginResource } from "./resource.ts";
import type { Grant, HostFacts } from "../pool/allocate.ts";
import { cdiSpec } from "../pool/cdi.ts";
import { SHARE_MARK } from "../pool/devices.ts";
import { type Change, type PoolState, type PoolStates, track } from "../pool/states.ts";
import { netnsNotes } from "../pool/netns.ts";
import { type LeftOut, select } from "../pool/select.ts";
import type { ResourceSpec } from "../pool/spec.ts";

/** Everything the agent is told at its start. */
export interface AgentOptions {
  readonly specs: readonly ResourceSpec[];
  readonly kubeletDir: string;
  readonly registryDir: string;
  readonly registration: RegistrationMode;
  readonly cdiDir: string;
  /** Milliseconds between scans that nothing triggered. */
  readonly rescanMs: number;
  readonly machine: DiscoverySources;
  readonly sources: readonly EventSource[];
  readonly log: Log;
  /** For tests. */
  readonly timing?: Partial<Timing>;
  readonly collectMs?: number;
}

/** What the agent knows at one moment, for `list`, metrics and the status page. */
export interface AgentState {
  readonly snapshot: Snapshot | null;
  readonly states: PoolStates;
  readonly leftOut: readonly LeftOut[];
  readonly sessions: readonly SessionStatus[];
  /** The last changes, newest last, with the time of day (ms since the epoch). */
  readonly changes: readonly (Change & { readonly time: number })[];
}

/** Things that happen, for metrics and the status page; the agent itself counts nothing. */
export interface AgentObserver {
  onScan?(scan: Scan, changed: boolean): void;
  /** From the event that was noticed to the list handed to the streams, in seconds. */
  onEventLatency?(seconds: number, source: string): void;
  onCall?(resource: string, method: string, seconds: number, refused: { code: string; message: string } | null): void;
  onAllocated?(resource: string, ids: readonly string[], grant: Grant): void;
  onListSent?(resource: string, bytes: number): void;
  onSession?(status: SessionStatus): void;
  /** Anything in {@link AgentState} is another than before. */
  onState?(): void;
}

interface Served {
  readonly offer: DevicePluginResource;
  readonly session: Session;
}

const CHANGES_KEPT = 200;

/** One trouble, whichever file it was that could not be opened. */
const OUT_OF_FILES = "out of files";

/** A running plugin. */
export class Agent {
  readonly #options: AgentOptions;
  readonly #log: Log;
  readonly #codec: Codec = protoCodec();
  readonly #stop = new AbortController();
  readonly #rescans: RescanLoop;
  readonly #cdi: CdiFiles;
  readonly #served = new Map<string, Served>();
  readonly #observers = new Set<AgentObserver>();
  readonly #background = new Set<Promise<void>>();
  #specs: readonly ResourceSpec[];
  #snapshot: Snapshot | null = null;
  #states: PoolStates = new Map();
  #leftOut: readonly LeftOut[] = [];
  #changes: (Change & { time: number })[] = [];
  #wake: ReturnType<typeof setTimeout> | undefined;
  #cdiTrouble = new Set<string>();
  /** Why the last scan failed; null when it did not. */
  #scanFailure: string | null = null;

  private constructor(options: AgentOptions) {
    this.#options = options;
    this.#log = options.log;
    this.#specs = options.specs;
    this.#cdi = new CdiFiles(options.cdiDir);
    const discovery = new Discovery({
      ...options.machine,
      onLateAnswer: (hca) => this.#rescans.trigger(trigger("late answer", hca)),
    });
    this.#rescans = new RescanLoop({
      discovery,
      rescanMs: options.rescanMs,
      onScan: (scan) => this.#applyScan(scan),
      onError: (error) => this.#scanFailed(error),
      ...options.collectMs === undefined ? {} : { collectMs: options.collectMs },
    });
  }

  /** Scans of the machine once, then serves and registers. Resolves when every resource is being served or retried. */
  static async start(options: AgentOptions, observer: AgentObserver = {}): Promise<Agent> {
    const agent = new Agent(options);
    agent.observe(observer);
    // Sources first: what changes while the first scan is under way must not be missed.
    for (const source of options.sources) agent.#listen(source);
    agent.#rescans.trigger(trigger("start", "start", { depth: "full" }));
    await agent.#rescans.now("start", "start");
    const stale = await agent.#cdi.removeStale(new Set(agent.#specs.filter((one) => one.cdi).map((one) => one.name)));
    for (const name of stale) agent.#log.info(`removed ${name}, which an earlier plugin left behind`);
    agent.#watch(options.kubeletDir);
    if (options.registration !== "socket" && existsSync(options.registryDir)) agent.#watch(options.registryDir);
    return agent;
  }

  /** Adds somebody who wants to hear of things; returns the way to stop that. */
  observe(observer: AgentObserver): () => void {
    this.#observers.add(observer);
    return () => this.#observers.delete(observer);
  }

  get state(): AgentState {
    return {
      snapshot: this.#snapshot,
      states: this.#states,
      leftOut: this.#leftOut,
      sessions: [...this.#served.values()].map((one) => one.session.status),
      changes: this.#changes,
    };
  }

  /** Scans everything again; resolves when the offers are up to date. */
  async scan(source: string): Promise<void> {
    this.#rescans.trigger(trigger(source, source, { depth: "full" }));
    await this.#rescans.now(source, source);
  }

  /** SIGHUP: looks again and registers every resource again. */
  async reregister(): Promise<void> {
    await this.scan("SIGHUP");
    for (const { session } of this.#served.values()) session.reregister();
  }

  /** Serves other resources from now on. Those whose spec is the same do not notice. */
  async reconfigure(specs: readonly ResourceSpec[]): Promise<void> {
    const before = new Map(this.#specs.map((spec) => [spec.name, spec]));
    const same = (spec: ResourceSpec) => JSON.stringify(before.get(spec.name)) === JSON.stringify(spec);
    // The old object for an equal spec: identity is how `track` sees that nothing changed.
    this.#specs = specs.map((spec) => same(spec) ? before.get(spec.name)! : spec);
    await this.#rescans.now("config", "new configuration");
  }

  /** Finishes calls in flight, removes sockets and CDI specs. */
  async close(): Promise<void> {
    this.#stop.abort();
    clearTimeout(this.#wake);
    await this.#rescans.close();
    await Promise.all([...this.#served.values()].map(({ session }) => session.close()));
    for (const path of this.#cdi.removeAll()) this.#leave(path);
    await Promise.all(this.#background);
  }

  #listen(source: EventSource): void {
    const running = source.run((one) => this.#rescans.trigger(one), this.#stop.signal).catch((error: unknown) => {
      if (this.#stop.signal.aborted) return;
      const reason = error instanceof Error ? error.message : String(error);
      const seconds = this.#options.rescanMs / 1e3;
      this.#log.warn(
        `no events from ${source.name}: ${reason}; changes are found by looking every ${seconds} s instead`,
      );
    });
    this.#background.add(running);
  }

  #watch(dir: string): void {
    const changed = () => this.#served.forEach(({ session }) => session.kubeletDirChanged());
    watchDirectory(dir, changed, this.#stop.signal, (sentence) => this.#log.warn(sentence));
  }

  /** The same trouble again is not told again. A stack is for what nobody foresaw. */
  #scanFailed(error: unknown): void {
    const foreseen = error instanceof OutOfFiles;
    const words = error instanceof Error ? (foreseen ? null : error.stack) ?? error.message : String(error);
    const trouble = foreseen ? OUT_OF_FILES : words;
    this.#log[trouble === this.#scanFailure ? "debug" : "error"](
      `A scan at the machine failed; what was offered before still is, and it is tried again: ${words}`,
    );
    this.#scanFailure = trouble;
  }

  /**
   * The first scan after some that failed. When files had run out sockets have to be proved: a listener of this runtime
   * that finds none for a connection accepts no other ever again, and there is no event that tells.
   */
  #recover(trouble: string): void {
    this.#scanFailure = null;
    this.#log.info("the machine can be looked at again");
    if (trouble !== OUT_OF_FILES) return;
    for (const { session } of this.#served.values()) session.probe();
  }

  /** The pure steps, and then what they ask for. */
  #applyScan(scan: Scan): void {
    if (this.#scanFailure !== null) this.#recover(this.#scanFailure);
    const { snapshot } = scan;
    const now = performance.now();
    const held = snapshot.netnsMode === "exclusive" ? this.#held() : new Map<string, ReadonlySet<string>>();
    const selection = select(this.#specs, snapshot);
    const tracked = track(this.#states, selection, held, now);
    const hostChanged = snapshot !== this.#snapshot;
    const changed = tracked.states !== this.#states || hostChanged;
    const first = this.#snapshot === null;
    if (this.#snapshot?.netnsMode !== snapshot.netnsMode) this.#warnOfNetns(snapshot.netnsMode);
    this.#snapshot = snapshot;
    this.#states = tracked.states;
    this.#leftOut = selection.leftOut;
    // What could not be written is tried again by every scan: that a disk has room again is no event.
    if (changed || this.#cdiTrouble.size > 0) this.#offer();
    clearTimeout(this.#wake);
    if (tracked.wakeAt !== null) {
      const wait = Math.max(1, Math.ceil(tracked.wakeAt - now));
      this.#wake = setTimeout(() => this.#rescans.trigger(trigger("deadline", "a settle or grace time is over")), wait);
    }
    this.#tell(scan, tracked.changes, first, changed);
  }

  /** Says what a pod would find out too late. */
  #warnOfNetns(mode: NetnsMode): void {
    for (const { what, reason, fix } of netnsNotes(this.#specs, mode)) this.#log.warn(`${what}: ${reason}; ${fix}`);
  }

  /** Makes what is offered and served the same as the states. */
  #offer(): void {
    const host: HostFacts = {
      rdmaCm: this.#snapshot?.rdmaCm ?? false,
      knem: this.#snapshot?.knem ?? false,
      has: (path) => existsSync(path.replace(/^\/dev(?=\/)/, this.#options.machine.roots.dev)),
    };
    for (const [name, { session }] of this.#served) {
      if (this.#states.has(name)) continue;
      this.#served.delete(name);
      this.#removeCdi(name);
      this.#background.add(session.close());
      this.#log.info(`${name} is no longer offered`, { resource: name });
    }
    for (const [name, poolState] of this.#states) {
      const served = this.#served.get(name) ?? this.#serve(poolState, host);
      const refusal = this.#writeCdi(poolState, host, served.session.status.socket);
      served.offer.update(poolState, host, refusal);
    }
  }

  #serve(poolState: PoolState, host: HostFacts): Served {
    const resource = poolState.spec.name;
    const offer = new DevicePluginResource(poolState, host, {
      codec: this.#codec,
      sysfsRoot: this.#options.machine.roots.sysfs,
      rescan: () => this.#rescans.now("allocate", `an Allocate of ${resource} found something in its way`),
      onAllocated: (name, ids, grant) => this.#each((one) => one.onAllocated?.(name, ids, grant)),
    });
    const session = new Session(offer, {
      kubeletDir: this.#options.kubeletDir,
      registryDir: this.#options.registryDir,
      mode: this.#options.registration,
      note: ({ level, message }) => this.#log[level](message, { resource }),
      onStatus: (status) => {
        this.#each((one) => one.onSession?.(status));
        this.#each((one) => one.onState?.());
      },
      events: {
        onListSent: (bytes) => this.#each((one) => one.onListSent?.(resource, bytes)),
        onCall: (method, seconds, refused) => {
          if (refused !== null) {
            this.#log.warn(`${method} refused: ${refused.message}`, { resource, code: refused.code });
          }
          this.#each((one) => one.onCall?.(resource, method, seconds, refused));
        },
      },
      ...this.#options.timing === undefined ? {} : { timing: this.#options.timing },
    });
    const served = { offer, session };
    this.#served.set(resource, served);
    session.reconcile();
    return served;
  }

  /** Null when the spec is written (or none is wanted), else the sentence that says why not. */
  #writeCdi(poolState: PoolState, host: HostFacts, owner: string): string | null {
    const { name, cdi } = poolState.spec;
    if (!cdi) {
      this.#removeCdi(name);
      return null;
    }
    try {
      this.#cdi.write(name, cdiSpec(poolState, host, owner));
      if (this.#cdiTrouble.delete(name)) this.#log.info("the CDI spec is written now", { resource: name });
      return null;
    } catch (error) {
      const { message } = error as Error;
      if (!this.#cdiTrouble.has(name)) this.#log.error(message, { resource: name });
      this.#cdiTrouble.add(name);
      return message;
    }
  }

  #removeCdi(name: string): void {
    this.#cdiTrouble.delete(name);
    const left = this.#cdi.remove(name);
    if (left !== null) this.#leave(left);
  }

  #leave(path: string): void {
    this.#log.warn(`Cannot remove ${path}; the next plugin that starts does, when it can`);
  }

  /** Member IDs that pods hold; only exclusive resources have HCAs that can be in a pod's namespace. */
  #held(): ReadonlyMap<string, ReadonlySet<string>> {
    const held = heldDevices(this.#options.kubeletDir);
    return new Map(
      this.#specs.filter((spec) => spec.mode.kind === "exclusive" || spec.mode.of === "one").map((spec) => {
        const ids = [...held.get(spec.name) ?? []].map((id) =>
          spec.mode.kind === "exclusive" ? id : id.slice(0, Math.max(0, id.lastIndexOf(SHARE_MARK)))
        );
        return [spec.name, new Set(ids.filter((id) => id !== ""))];
      }),
    );
  }

  #tell(scan: Scan, changes: readonly Change[], first: boolean, changed: boolean): void {
    const time = Date.now();
    for (const change of changes) {
      const { resource, device, hca, port, from, to, reason } = change;
      // What is there at the start is said by one block, not by a line for each.
      const level = first ? "debug" : to === "Healthy" ? "info" : "warn";
      this.#log[level](`${device}: ${from} → ${to}: ${reason}`, { resource, hca, port });
    }
    this.#changes = [...this.#changes, ...changes.map((one) => ({ ...one, time }))].slice(-CHANGES_KEPT);
    this.#each((one) => one.onScan?.(scan, changed));
    const event = scan.triggers[0]!;
    if (changes.length > 0 && !first) {
      this.#each((one) => one.onEventLatency?.((performance.now() - event.at) / 1e3, event.source));
    }
    if (changed || changes.length > 0) this.#each((one) => one.onState?.());
    this.#log.debug(`looked (${scan.depth}) because of ${event.source}: ${event.detail}`, {
      ms: Math.round(scan.seconds * 1e4) / 10,
      hcas: scan.snapshot.hcas.length,
      changes: changes.length,
    });
  }

  #each(tell: (observer: AgentObserver) => void): void {
    for (const observer of this.#observers) tell(observer);
  }
}
