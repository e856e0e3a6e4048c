/**
 * Follows an agent and reports to Kubernetes what people and controllers there should know: events, the condition RDMAReady,
 * and labels. Pods are served whatever becomes of that.
 *
 *     agent ─► view, flapping, late (pure) ─► wanted condition and labels, events ─► lanes ─► API server, feature file
 *
 * @module
 */
import type { Agent, AgentObserver } from "../agent/agent.ts";
import type { SessionStatus } from "../device_plugin/session.ts";
import type { ObjectReference } from "../kubernetes/core_api.ts";
import { type Condition, conditionOf, type Reported } from "./condition.ts";
import { FlappingMemory } from "./flapping.ts";
import { type Labels, labelsOf } from "./labels.ts";
import { type Occurrence, occurrences } from "./occurrences.ts";
import type { PodFinder } from "./pods.ts";
import { Registrations } from "./registrations.ts";
import { keyOf, viewOf } from "./view.ts";

/** Where the reports go. */
export interface Sinks {
  readonly condition: ((wanted: Condition | null) => void) | null;
  readonly labels: ((wanted: Labels) => void) | null;
  readonly event: ((occurrence: Occurrence, regarding: ObjectReference) => void) | null;
  /** This plugin registered again, with a new kubelet perhaps: its node object may be a new one. */
  readonly nodeMayBeNew: () => void;
}

export interface ReporterOptions {
  readonly node: string;
  readonly sinks: Sinks;
  /** Null when there are no events. */
  readonly pods: PodFinder | null;
  readonly calmMs?: number | undefined;
  readonly lateMs?: number | undefined;
}

/** What the reporter needs of an agent. */
export type Watched = Pick<Agent, "state" | "observe">;

export class Reporter {
  readonly #options: ReporterOptions;
  readonly #flapping: FlappingMemory;
  readonly #registrations: Registrations;
  #agent: Watched | null = null;
  #stopObserving: () => void = () => {};
  #last: Reported | null = null;
  /** What was found at the start, until it is known whether an earlier process has reported it. */
  #initial: readonly Occurrence[] = [];
  /** Registrations that were accepted, by resource; 0 from when its kubelet was not there. */
  readonly #accepted = new Map<string, number>();
  #wake: ReturnType<typeof setTimeout> | undefined;
  readonly #background = new Set<Promise<void>>();

  constructor(options: ReporterOptions) {
    this.#options = options;
    this.#flapping = new FlappingMemory(options.calmMs);
    this.#registrations = new Registrations(options.lateMs);
  }

  /** Reports the state of this agent from now on. */
  attach(agent: Watched): void {
    this.#agent = agent;
    const update = () => this.#update();
    const observer: AgentObserver = { onState: update, onSession: update };
    this.#stopObserving = agent.observe(observer);
    update();
  }

  /**
   * It is known what an earlier process reported.
   *
   * @param same whether that is what there is to report now: then nothing has happened
   */
  known(same: boolean): void {
    const initial = this.#initial;
    this.#initial = [];
    // The server may have been away for long: what is over by now is no news.
    const holds = ({ device }: Occurrence) =>
      device === null || this.#last?.view.devices.get(keyOf(device.resource, device.device))?.healthy === false;
    if (!same) this.#record(initial.filter(holds));
  }

  async close(): Promise<void> {
    this.#stopObserving();
    this.#agent = null;
    clearTimeout(this.#wake);
    await Promise.all(this.#background);
  }

  #update(): void {
    const agent = this.#agent;
    const { inventory = null, sessions = [] } = agent?.state ?? {};
    if (agent === null || inventory === null) return;
    // In an update two plugins run at once; the one that serves is the one that reports.
    if (sessions.length > 0 && sessions.every(({ phase }) => phase === "standby" || phase === "stopped")) return;
    const { sinks } = this.#options;
    const now = performance.now();
    const view = viewOf(inventory, this.#last?.view ?? null);
    const flapping = this.#flapping.update(view, now);
    const late = this.#registrations.update(sessions, now);
    const reported: Reported = { view, flapping: flapping.keys, late: late.reasons };
    const found = sinks.event === null ? [] : occurrences(this.#last, reported);
    if (this.#last === null) this.#initial = found;
    else this.#record(found);
    this.#last = reported;
    if (this.#kubeletMayBeNew(sessions)) sinks.nodeMayBeNew();
    sinks.condition?.(conditionOf(reported));
    sinks.labels?.(labelsOf(inventory, flapping.keys));
    this.#wakeAt(flapping.wakeAt, late.wakeAt, now);
  }

  /** The first registration after the plugin's own start is no news, unless the kubelet was down before. */
  #kubeletMayBeNew(sessions: readonly SessionStatus[]): boolean {
    let news = false;
    for (const { resource, phase, code, registrations } of sessions) {
      const known = this.#accepted.get(resource);
      if (known !== undefined && registrations > known) news = true;
      // A session that starts waits, too: until its first registration is answered, however long that takes.
      const down = phase === "waiting" && code !== "starting";
      if (registrations > 0 || down) this.#accepted.set(resource, registrations);
    }
    return news;
  }

  #wakeAt(a: number | null, b: number | null, now: number): void {
    clearTimeout(this.#wake);
    const at = Math.min(a ?? Infinity, b ?? Infinity);
    if (at !== Infinity) this.#wake = setTimeout(() => this.#update(), Math.max(1, Math.ceil(at - now)));
  }

  #record(found: readonly Occurrence[]): void {
    const { sinks, node } = this.#options;
    // The kubelet's own events name a Node by its name in place of a UID, and `kubectl describe node` searches for that.
    const regarding: ObjectReference = { apiVersion: "v1", kind: "Node", name: node, uid: node };
    for (const one of found) {
      sinks.event?.(one, regarding);
      if (one.device !== null) this.#recordOfPods(one, one.device);
    }
  }

  #recordOfPods(occurrence: Occurrence, { resource, device }: NonNullable<Occurrence["device"]>): void {
    const poolState = this.#agent?.state.inventory?.states.get(resource);
    const { pods, sinks } = this.#options;
    if (pods === null || poolState === undefined) return;
    const work = pods.holders(poolState, device).then((holders) => {
      for (const one of holders) sinks.event?.(occurrence, one);
    }).finally(() => this.#background.delete(work));
    this.#background.add(work);
  }
}
