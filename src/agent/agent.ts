/**
 * The agent: start-up, the loop from trigger to kubelet, reload and shutdown. Only wiring and life cycle.
 *
 *     triggers ─► rescan loop ─► inventory (select, track) ─► resources (CDI file, answers, session) ─► kubelet
 *
 * @module
 */
import { protoCodec } from "../device_plugin/codec.ts";
import type { RegistrationMode, Timing } from "../device_plugin/session.ts";
import { Discovery, type DiscoverySources } from "../hca/discover.ts";
import { hasFfi } from "../hca/ffi.ts";
import { exists, hostHas } from "../hca/files.ts";
import { type EventSource, trigger } from "../hca/events/trigger.ts";
import { watchDirectory } from "../kubelet/directory_watch.ts";
import type { HostFacts } from "../pool/allocate.ts";
import type { ResourceSpec } from "../pool/spec.ts";
import type { Log } from "../text/log.ts";
import type { DraSettings } from "../dra/open.ts";
import { CdiSpecs } from "./cdi.ts";
import { DraSide } from "./dra_side.ts";
import { ErrorWatch } from "./error_watch.ts";
import { advance, type Inventory } from "./inventory.ts";
import { type KubeletRecord, kubeletRecord, NetdevKeeper } from "./kept.ts";
import { type AgentObserver, type AgentState, Observers } from "./observer.ts";
import { pollOf } from "./port_poll.ts";
import { RescanLoop, type Scan } from "./rescan_loop.ts";
import { Resources } from "./resources.ts";
import { ScanFailures } from "./scan_failures.ts";
import { ScanReport, warnOfNetns } from "./scan_report.ts";

export type { AgentObserver, AgentState } from "./observer.ts";

export interface AgentOptions {
  readonly specs: readonly ResourceSpec[];
  readonly kubeletDir: string;
  readonly registryDir: string;
  readonly registration: RegistrationMode;
  readonly cdiDir: string;
  /** Required for resources with `api: dra`. */
  readonly dra?: DraSettings | null;
  /** Milliseconds between periodic scans. */
  readonly rescanMs: number;
  readonly machine: DiscoverySources;
  readonly sources: readonly EventSource[];
  readonly log: Log;
  /** For tests. */
  readonly timing?: Partial<Timing>;
  readonly collectMs?: number;
}

/** A running plugin. */
export class Agent {
  readonly #options: AgentOptions;
  readonly #log: Log;
  readonly #stop = new AbortController();
  readonly #rescans: RescanLoop;
  readonly #failures: ScanFailures;
  readonly #cdi: CdiSpecs;
  readonly #has: HostFacts["has"];
  readonly #dra: DraSide;
  readonly #record: KubeletRecord;
  readonly #netdevs: NetdevKeeper;
  readonly #resources: Resources;
  readonly #errors: ErrorWatch;
  readonly #observers = new Observers();
  readonly #report: ScanReport;
  /** Pending work that {@link close} waits for; entries are removed when they end. */
  readonly #background = new Set<Promise<void>>();
  #specs: readonly ResourceSpec[];
  #inventory: Inventory | null = null;
  #wake: ReturnType<typeof setTimeout> | undefined;

  private constructor(options: AgentOptions) {
    this.#options = options;
    this.#log = options.log;
    this.#specs = options.specs;
    this.#failures = new ScanFailures(options.log);
    this.#report = new ScanReport(options.log, this.#observers);
    this.#cdi = new CdiSpecs(options.cdiDir, options.kubeletDir, options.log);
    this.#has = hostHas(options.machine.roots.dev);
    const discovery = new Discovery({
      ...options.machine,
      onLateAnswer: (hca) => this.#rescans.trigger(trigger("late answer", hca)),
    });
    this.#record = kubeletRecord(options.kubeletDir);
    this.#netdevs = new NetdevKeeper(discovery.memory, options.kubeletDir, options.log);
    this.#rescans = new RescanLoop({
      discovery,
      rescanMs: options.rescanMs,
      poll: pollOf(discovery, options.sources, options.machine.roots.sysfs),
      onScan: (scan) => this.#applyScan(scan),
      onError: (error) => this.#failures.failed(error),
      ...options.collectMs === undefined ? {} : { collectMs: options.collectMs },
    });
    this.#errors = new ErrorWatch({
      sysfs: options.machine.roots.sysfs,
      onChange: (what) => this.#rescans.trigger(trigger("counters", what)),
      onCounts: () => this.#observers.onState(),
      log: options.log,
    });
    this.#dra = new DraSide(options.dra ?? null, {
      log: options.log,
      rescan: (detail) => this.#rescans.now("claim", detail),
      onStatus: () => this.#observers.onState(),
      onClaims: () => this.#rescans.trigger(trigger("claim", "a claim was prepared or unprepared")),
      onAnswer: (...answer) => this.#observers.onClaim(...answer),
    });
    const shared = {
      kubeletDir: options.kubeletDir,
      registryDir: options.registryDir,
      registration: options.registration,
      sysfsRoot: options.machine.roots.sysfs,
      cdi: this.#cdi,
      codec: protoCodec(),
      log: options.log,
      observers: this.#observers,
      rescan: (detail: string) => this.#rescans.now("allocate", detail),
      timing: options.timing ?? {},
    };
    this.#resources = new Resources(shared, this.#dra, this.#has, (work) => this.#inBackground(work));
  }

  /** Scans the machine, then serves and registers. Resolves when every resource is served or will be retried. */
  static async start(options: AgentOptions, observer: AgentObserver = {}): Promise<Agent> {
    const agent = new Agent(options);
    agent.observe(observer);
    // Event sources start first, so that changes during the first scan are not missed.
    for (const source of options.sources) agent.#listen(source);
    await agent.#dra.load(options.specs);
    agent.#rescans.trigger(trigger("start", "start", { depth: "full" }));
    await agent.#rescans.now("start", "start");
    const names = (specs: readonly ResourceSpec[]) => new Set(specs.map((one) => one.name));
    await agent.#cdi.adopt(names(agent.#specs.filter((one) => one.cdi)), names(agent.#specs));
    agent.#watch(options.kubeletDir);
    const watcher = options.registration !== "socket" || agent.#dra.isOpen;
    if (watcher && exists(options.registryDir)) agent.#watch(options.registryDir);
    return agent;
  }

  /** Adds an observer; returns the function that removes it. */
  observe(observer: AgentObserver): () => void {
    return this.#observers.add(observer);
  }

  get state(): AgentState {
    return {
      inventory: this.#inventory,
      sessions: this.#resources.sessions,
      changes: this.#report.changes,
      errors: this.#errors,
    };
  }

  /** Makes a full scan; resolves when every resource is up to date. */
  async scan(source: string): Promise<void> {
    this.#rescans.trigger(trigger(source, source, { depth: "full" }));
    await this.#rescans.now(source, source);
  }

  /** SIGHUP: scans again and registers every resource again. */
  async reregister(): Promise<void> {
    await this.scan("SIGHUP");
    this.#resources.reregister();
  }

  /** Milliseconds between periodic scans; 0 when there are none. */
  get rescanMs(): number {
    return this.#rescans.rescanMs;
  }

  /** Replaces the resources and the scan interval. Resources with an equal spec are not affected. */
  async reconfigure(specs: readonly ResourceSpec[], rescanMs = this.rescanMs): Promise<void> {
    this.#rescans.setRescan(rescanMs);
    const before = new Map(this.#specs.map((spec) => [spec.name, spec]));
    const same = (spec: ResourceSpec) => JSON.stringify(before.get(spec.name)) === JSON.stringify(spec);
    // Reuses the old object for an equal spec, because `track` compares by identity.
    this.#specs = specs.map((spec) => same(spec) ? before.get(spec.name)! : spec);
    await this.#dra.load(specs);
    await this.#rescans.now("config", "new configuration");
  }

  /** Completes pending calls, removes sockets, and CDI specs that no container needs. */
  async close(): Promise<void> {
    this.#stop.abort();
    clearTimeout(this.#wake);
    this.#errors.close();
    await this.#rescans.close();
    await this.#resources.close();
    await Promise.all(this.#background);
  }

  #listen(source: EventSource): void {
    this.#inBackground(
      source.run((one) => this.#rescans.trigger(one), this.#stop.signal).catch((error: unknown) => {
        if (this.#stop.signal.aborted) return;
        const reason = error instanceof Error ? error.message : String(error);
        const seconds = this.rescanMs / 1e3;
        // Node.js never has them, which is known and no fault of the node's.
        this.#log[hasFfi() ? "warn" : "info"](
          `no events from ${source.name}: ${reason}; port states are polled instead, and ` +
            `everything is scanned every ${seconds} s`,
        );
      }),
    );
  }

  #watch(dir: string): void {
    const changed = () => {
      this.#resources.kubeletDirChanged();
      this.#netdevs.keep({ removed: true });
    };
    watchDirectory(dir, changed, this.#stop.signal, (sentence) => this.#log.warn(sentence));
  }

  #inBackground(work: Promise<void>): void {
    const done = work.finally(() => this.#background.delete(done));
    this.#background.add(done);
  }

  /** Advances the inventory and applies the result. */
  #applyScan(scan: Scan): void {
    if (this.#failures.succeeded()) this.#resources.probe();
    const before = this.#inventory;
    const now = performance.now();
    const { snapshot } = scan;
    const claimed = this.#dra.claimed(snapshot);
    const { exceeded } = this.#errors;
    const step = advance(before, snapshot, this.#specs, this.#record, now, this.#has, claimed, exceeded);
    const { inventory, changes, wakeAt } = step;
    this.#netdevs.keep();
    this.#inventory = inventory;
    if (before?.snapshot.netnsMode !== inventory.snapshot.netnsMode) warnOfNetns(this.#log, inventory);
    const changed = inventory !== before;
    if (changed || this.#resources.hasPendingWork) this.#resources.update(inventory);
    this.#cdi.tend(inventory.ownersOf);
    clearTimeout(this.#wake);
    if (wakeAt !== null) {
      const wait = Math.max(1, Math.ceil(wakeAt - now));
      this.#wake = setTimeout(() => this.#rescans.trigger(trigger("deadline", "a settle or grace time is over")), wait);
    }
    this.#report.scanned(scan, changes, before === null, changed);
    this.#errors.scanned(inventory);
  }
}
