/**
 * Metrics: an observer of the agent that counts events, and the Prometheus text, which is generated on request.
 *
 * prom-client stores and formats them. Its default process metrics are not used, because they are wrong under Deno.
 *
 * @module
 */
import process from "node:process";
import { setImmediate } from "node:timers/promises";
import { Counter, Gauge, Histogram, Registry } from "prom-client";
import type { Inventory } from "../agent/inventory.ts";
import type { AgentObserver, AgentState } from "../agent/observer.ts";
import type { Snapshot } from "../hca/types.ts";
import type { WriteStatus } from "../kubernetes/failures.ts";
import type { PodsAnswer } from "../kubelet/pod_resources.ts";
import type { Phase } from "../device_plugin/session.ts";
import { deviceName } from "../dra/names.ts";
import { devices, membersOf } from "../pool/devices.ts";
import { ruleText } from "../pool/errors.ts";
import { runtimeName } from "../text/runtime_name.ts";
import { portCounterText } from "./metrics_ports.ts";
import { type Family, PLUGIN_FAMILIES } from "./metrics_table.ts";
import type { PortCounters } from "../hca/port_counters.ts";
import { unready } from "./readiness.ts";

export interface MetricsSources {
  readonly version: string;
  readonly counters: PortCounters;
  /** null without --pod-resources. */
  readonly pods: { get(): Promise<PodsAnswer>; readonly failures: number } | null;
  /** Name of the DRA driver, by which claims name this plugin's devices. */
  readonly draDriver?: string;
  /** Open SSE streams. */
  readonly watchers: () => number;
  /** Absent without reports. */
  readonly reports?: () => readonly WriteStatus[];
}

const PHASES: readonly Phase[] = ["waiting", "registering", "registered", "standby", "stopped"];

/** The kernel's `enum ib_port_state`. */
const PORT_STATES = ["NOP", "DOWN", "INIT", "ARMED", "ACTIVE", "ACTIVE_DEFER"];

/** HCAs that are processed between two pauses. */
const HCAS_AT_ONCE = 16;

type Key = keyof typeof PLUGIN_FAMILIES;
type OfType<Type> = { [K in Key]: typeof PLUGIN_FAMILIES[K]["type"] extends Type ? K : never }[Key];

/** All metrics of one plugin, in their own registry. */
export class Metrics {
  /** For {@link Agent.observe}. */
  readonly observer: AgentObserver;
  readonly contentType: string;
  readonly #sources: MetricsSources;
  readonly #registry = new Registry();
  readonly #counters: Readonly<Record<string, Counter>>;
  readonly #gauges: Readonly<Record<string, Gauge>>;
  readonly #histograms: Readonly<Record<string, Histogram>>;
  #lastSnapshot: Snapshot | null = null;
  /** Whether each port was ACTIVE in the last scan that had it, by "HCA/port". */
  readonly #active = new Map<string, boolean>();
  #writing: Promise<string> | null = null;

  constructor(sources: MetricsSources) {
    this.#sources = sources;
    this.contentType = this.#registry.contentType;
    this.#counters = this.#make("counter", (config) => new Counter(config));
    this.#gauges = this.#make("gauge", (config) => new Gauge(config));
    this.#histograms = this.#make(
      "histogram",
      (config, family) => new Histogram({ ...config, buckets: [...family.buckets ?? []] }),
    );
    this.#gauge("build").set({ version: sources.version, runtime: runtimeName() }, 1);
    this.#gauge("started").set(Date.now() / 1e3 - process.uptime());
    this.observer = this.#observe();
  }

  /** Counts a request to the HTTP server. `path` is one of the few routes. */
  onRequest(path: string, code: number): void {
    this.#counter("requests").inc({ path, code: String(code) });
  }

  /** The Prometheus text. Concurrent callers get the same text. */
  text(state: AgentState | null): Promise<string> {
    return this.#writing ??= this.#write(state).finally(() => this.#writing = null);
  }

  async #write(state: AgentState | null): Promise<string> {
    const [pods, readings] = await Promise.all([
      this.#sources.pods?.get() ?? null,
      this.#sources.counters.read(state?.inventory?.snapshot.hcas ?? []),
    ]);
    this.#gauge("countersSeconds").set(readings.seconds);
    for (const hca of readings.skipped) this.#counter("countersSkipped").inc({ hca });
    this.#process();
    this.#reports();
    this.#gauge("watchers").set(this.#sources.watchers());
    this.#gauge("ready").set(unready(state?.sessions ?? null).length === 0 ? 1 : 0);
    const inventory = state?.inventory ?? null;
    if (inventory !== null) {
      await this.#hardware(inventory);
      this.#offers(inventory, state?.sessions ?? []);
      this.#errors(state?.errors);
      if (pods !== null) this.#pods(inventory, pods);
    }
    const texts: string[] = [];
    for (const { name } of Object.values(PLUGIN_FAMILIES)) {
      texts.push(await this.#registry.getSingleMetricAsString(name));
      // Yields to the event loop: generating the text of a big machine in one step would delay an Allocate.
      await setImmediate();
    }
    return `${texts.join("\n\n")}\n\n${await portCounterText(readings.hcas)}`;
  }

  #reports(): void {
    const failures = this.#counter("reportFailures");
    failures.reset();
    for (const { what: report, failures: counts, outdated } of this.#sources.reports?.() ?? []) {
      for (const [reason, times] of counts) failures.inc({ report, reason }, times);
      this.#gauge("reportOutdated").set({ report }, outdated ? 1 : 0);
    }
  }

  #process(): void {
    const { user, system } = process.cpuUsage();
    const cpu = this.#counter("cpu");
    cpu.reset();
    cpu.inc((user + system) / 1e6);
    const { rss, heapUsed } = process.memoryUsage();
    this.#gauge("resident").set(rss);
    this.#gauge("heap").set(heapUsed);
  }

  async #hardware({ snapshot, states }: Inventory): Promise<void> {
    const gauges = ["hca", "hcaResources", "hcaUnhealthy", "hcaNotes", "port", "portState", "portRate"] as const;
    for (const key of gauges) this.#gauge(key).reset();
    const offered = new Map<string, number>();
    for (const { deviceStates } of states.values()) {
      const names = [...deviceStates.values()].flatMap(({ member }) => member.hcas.map((hca) => hca.name));
      for (const name of new Set(names)) offered.set(name, (offered.get(name) ?? 0) + 1);
    }
    for (const { code, member } of [...states.values()].flatMap((one) => [...one.deviceStates.values()])) {
      if (code === null) continue;
      for (const { name: hca } of member.hcas) this.#gauge("hcaUnhealthy").set({ hca, code }, 1);
    }
    this.#gauge("hcas").set(snapshot.hcas.length);
    this.#gauge("hcasUnreadable").set(snapshot.unreadable.length);
    for (const [n, one] of snapshot.hcas.entries()) {
      if (n % HCAS_AT_ONCE === HCAS_AT_ONCE - 1) await setImmediate();
      const { name: hca, pci, kind, transport, firmware, boardId, uverbs } = one;
      this.#gauge("hca").set({
        hca,
        pci: pci?.address ?? "",
        driver: pci?.driver ?? "",
        kind,
        transport,
        vendor: pci?.vendor ?? "",
        device: pci?.device ?? "",
        firmware: firmware ?? "",
        board: boardId ?? "",
        numa: String(pci?.numaNode ?? ""),
        uverbs: uverbs?.name ?? "",
      }, 1);
      this.#gauge("hcaResources").set({ hca }, offered.get(hca) ?? 0);
      this.#gauge("hcaNotes").set({ hca }, one.notes.length);
      for (const { number, state, physState, linkLayer, rateGbps } of one.ports) {
        const port = String(number);
        const info = { hca, port, link_layer: linkLayer, physical_state: physState ?? "" };
        this.#gauge("port").set({ ...info, netdevs: one.netdevs.join(",") }, 1);
        // A port state that the kernel did not report has no number; its series is omitted.
        if (PORT_STATES.includes(state)) this.#gauge("portState").set({ hca, port }, PORT_STATES.indexOf(state));
        if (rateGbps !== null) this.#gauge("portRate").set({ hca, port }, rateGbps * 1e9 / 8);
      }
    }
  }

  #offers({ states }: Inventory, sessions: AgentState["sessions"]): void {
    for (const key of ["devices", "registered", "phase", "streams"] as const) this.#gauge(key).reset();
    for (const [resource, poolState] of states) {
      const all = devices(poolState);
      const healthy = all.filter((one) => one.healthy).length;
      this.#gauge("devices").set({ resource, health: "Healthy" }, healthy);
      this.#gauge("devices").set({ resource, health: "Unhealthy" }, all.length - healthy);
    }
    this.#counter("registrations").reset();
    for (const { resource, phase, via, streams, registrations } of sessions) {
      this.#gauge("registered").set({ resource }, phase === "registered" ? 1 : 0);
      for (const one of PHASES) this.#gauge("phase").set({ resource, phase: one }, one === phase ? 1 : 0);
      this.#gauge("streams").set({ resource }, streams);
      this.#counter("registrations").inc({ resource, via }, registrations);
    }
  }

  #errors(errors: AgentState["errors"]): void {
    for (const key of ["watchedErrors", "errorsExceeded"] as const) this.#gauge(key).reset();
    const seen = new Map<string, number>();
    for (const { hca, port, rule, count, exceeded } of errors?.watched ?? []) {
      const labels = { hca, port: String(port ?? ""), counter: rule.counter, rule: ruleText(rule) };
      // The same name in two directories of a port is one series: the worse of the two.
      const key = JSON.stringify(labels);
      const worst = Math.max(count, seen.get(key) ?? 0);
      seen.set(key, worst);
      this.#gauge("watchedErrors").set(labels, worst);
      if (exceeded !== null) this.#gauge("errorsExceeded").set(labels, 1);
      else this.#gauge("errorsExceeded").inc(labels, 0);
    }
    const skipped = this.#counter("errorsSkipped");
    skipped.reset();
    for (const [hca, times] of errors?.skipped ?? []) skipped.inc({ hca }, times);
  }

  /** Only resources of this plugin: the kubelet also reports those of other plugins. */
  #pods({ states }: Inventory, pods: PodsAnswer): void {
    for (const key of ["inUse", "pod", "hcaContainers"] as const) this.#gauge(key).reset();
    const errors = this.#counter("podErrors");
    errors.reset();
    errors.inc(this.#sources.pods?.failures ?? 0);
    if (!pods.ok) return;
    for (const [resource, poolState] of states) {
      const claimed = pods.claimed.filter(({ driver }) => driver === this.#sources.draDriver);
      for (const { member } of poolState.deviceStates.values()) {
        const name = poolState.spec.api === "dra" ? deviceName(member) : null;
        const holders = claimed.filter(({ device }) => device === name).length;
        for (const { name: hca } of member.hcas) this.#gauge("hcaContainers").inc({ hca }, holders);
      }
      const held = pods.holders.get(resource) ?? new Map();
      this.#gauge("inUse").set({ resource }, held.size);
      for (const [device, holders] of held) {
        for (const holder of holders) this.#gauge("pod").set({ resource, device, ...holder }, 1);
        for (const { member } of membersOf(poolState, device) ?? []) {
          for (const { name: hca } of member.hcas) this.#gauge("hcaContainers").inc({ hca }, holders.length);
        }
      }
    }
  }

  /** Ports that scans found ACTIVE or not, and differently before. A new port begins at zero. */
  #countPortChanges(snapshot: Snapshot): void {
    if (snapshot === this.#lastSnapshot) return;
    this.#lastSnapshot = snapshot;
    const there = new Set(snapshot.hcas.flatMap(({ name, ports }) => ports.map((port) => `${name}/${port.number}`)));
    for (const key of this.#active.keys()) {
      if (there.has(key)) continue;
      this.#active.delete(key);
      const [hca = "", port = ""] = key.split("/");
      this.#counter("portChanges").remove({ hca, port });
    }
    for (const { name: hca, ports } of snapshot.hcas) {
      for (const { number, state } of ports) {
        const active = state === "ACTIVE" || state === "ACTIVE_DEFER";
        const key = `${hca}/${number}`;
        const was = this.#active.get(key);
        if (was === active) continue;
        this.#active.set(key, active);
        this.#counter("portChanges").inc({ hca, port: String(number) }, was === undefined ? 0 : 1);
      }
    }
  }

  #observe(): AgentObserver {
    return {
      onScan: ({ depth, seconds, triggers, snapshot }, changed) => {
        this.#countPortChanges(snapshot);
        this.#counter("scans").inc({ depth, changed: String(changed) });
        this.#histogram("scanSeconds").observe({ depth }, seconds);
        this.#gauge("lastScan").set(Date.now() / 1e3);
        for (const { source } of triggers) this.#counter("triggers").inc({ source });
      },
      onChanges: (changes) => {
        for (const { resource, to } of changes) this.#counter("changes").inc({ resource, to });
      },
      onEventLatency: (seconds, source) => this.#histogram("eventSeconds").observe({ source }, seconds),
      onCall: (resource, method, seconds, refused) => {
        this.#counter("calls").inc({ resource, method, code: refused?.code ?? "OK" });
        this.#histogram("callSeconds").observe({ resource, method }, seconds);
      },
      onClaim: (method, seconds, refused) => {
        this.#counter("claims").inc({ method, result: refused === null ? "ok" : "refused" });
        this.#histogram("claimSeconds").observe({ method }, seconds);
      },
      onAllocated: (resource, ids) => this.#counter("allocated").inc({ resource }, ids.length),
      onListSent: (resource, bytes) => {
        this.#counter("lists").inc({ resource });
        this.#counter("listBytes").inc({ resource }, bytes);
      },
    };
  }

  #make<T>(
    type: Family["type"],
    make: (config: { name: string; help: string; labelNames: string[]; registers: Registry[] }, family: Family) => T,
  ): Readonly<Record<string, T>> {
    const mine = Object.entries<Family>(PLUGIN_FAMILIES).filter(([, family]) => family.type === type);
    return Object.fromEntries(mine.map(([key, family]) => {
      const { name, help, labels } = family;
      return [key, make({ name, help, labelNames: [...labels], registers: [this.#registry] }, family)];
    }));
  }

  #counter(key: OfType<"counter">): Counter {
    return this.#counters[key]!;
  }

  #gauge(key: OfType<"gauge">): Gauge {
    return this.#gauges[key]!;
  }

  #histogram(key: OfType<"histogram">): Histogram {
    return this.#histograms[key]!;
  }
}
