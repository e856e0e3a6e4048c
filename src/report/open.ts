/**
 * From what the command line says to running reports.
 *
 * @module
 */
import type { Agent } from "../agent/agent.ts";
import { PodLister, PodResources } from "../kubelet/pod_resources.ts";
import type { ApiAccess } from "../kubernetes/access.ts";
import { ApiClient } from "../kubernetes/client.ts";
import { Failures, type WriteStatus } from "../kubernetes/failures.ts";
import type { Log } from "../text/log.ts";
import { CONDITION } from "./condition.ts";
import { ConditionWriter } from "./condition_writer.ts";
import { EventWriter } from "./event_writer.ts";
import { FeatureFile } from "./feature_file.ts";
import { LabelWriter } from "./label_writer.ts";
import type { Labels } from "./labels.ts";
import { Lane, type Round } from "./lane.ts";
import { NodeObject } from "./node_object.ts";
import { PodFinder } from "./pods.ts";
import { Reporter, type Sinks } from "./reporter.ts";
import { SeriesBook } from "./series.ts";

export interface ReportSettings {
  /** Name of this Node object. */
  readonly node: string;
  /** Which plugin reports: its pod, or its host. */
  readonly instance: string;
  /** Events, and the condition. */
  readonly events: boolean;
  /** Labels through the API. */
  readonly labels: boolean;
  /** node-feature-discovery's directory of local features; null for none. */
  readonly featureDir: string | null;
  /** Asked only when the API is needed; null when no API server is known. */
  readonly access: () => ApiAccess | null;
  readonly kubeletDir: string;
  readonly podResourcesSocket: string;
  /** Name of the DRA driver, whose pool is the node. */
  readonly driver: string;
  /** For tests. */
  readonly timing?: Partial<ReportTiming>;
}

/** In milliseconds. */
export interface ReportTiming {
  readonly firstRetryMs: number;
  readonly longestRetryMs: number;
  readonly refusedRetryMs: number;
  /** How often the condition may be written, and the labels, when that is often. */
  readonly nodeEveryMs: number;
  /** Between the first two writes of a series. */
  readonly seriesGapMs: number;
  /** After so long without a change a device does not flap any more. */
  readonly calmMs: number;
  /** So long a resource may be without the kubelet. */
  readonly lateMs: number;
  /** How long the kubelet is given to list its pods. */
  readonly podsTimeoutMs: number;
}

const RETRIES = { firstRetryMs: 1_000, longestRetryMs: 60_000, refusedRetryMs: 900_000 };
/** Holders of a device are asked for when it changes: an older answer may lack a pod that has it. */
const PODS_MS = 200;
/** Less than the plugin has to end. */
const PODS_TIMEOUT_MS = 1_000;

export interface Reports {
  attach(agent: Pick<Agent, "state" | "observe">): void;
  /** What became of the writes to the API server, one for each kind that is asked for. */
  status(): readonly WriteStatus[];
  close(): Promise<void>;
}

/**
 * Reports that do nothing until `attach()`.
 * @throws when they need an API server and none is known
 */
export function openReports(settings: ReportSettings, log: Log): Reports {
  const { node, featureDir, timing = {} } = settings;
  const file = featureDir === null ? null : new FeatureFile(featureDir, log);
  const api = settings.events || settings.labels ? openApi(settings, log) : null;
  const sinks: Sinks = {
    condition: api?.sinks.condition ?? null,
    event: api?.sinks.event ?? null,
    labels: (labels) => {
      file?.want(labels);
      api?.sinks.labels?.(labels);
    },
    nodeMayBeNew: () => api?.sinks.nodeMayBeNew(),
  };
  const { calmMs, lateMs } = timing;
  const reporter = new Reporter({ node, sinks, pods: api?.pods ?? null, calmMs, lateMs });
  api?.start((same) => reporter.known(same));
  return {
    attach: (agent) => reporter.attach(agent),
    status: () => api?.status() ?? [],
    close: async () => {
      file?.close();
      // The reporter first: it asks for no pods once their connection is closed.
      const ended = reporter.close();
      await api?.close();
      await ended;
    },
  };
}

function openApi(settings: ReportSettings, log: Log) {
  const access = settings.access();
  if (access === null) throw new Error("no API server is known: KUBERNETES_SERVICE_HOST is not set; give --kube-api");
  const { timing = {} } = settings;
  const client = new ApiClient(access);
  const node = new NodeObject(client, settings.node);
  const stop = new AbortController();
  let onKnown: (same: boolean) => void = () => {};
  const condition = new ConditionWriter(node, (same) => onKnown(same), timing.nodeEveryMs);
  const labels = new LabelWriter(node, timing.nodeEveryMs);
  const book = new SeriesBook(timing.seriesGapMs);
  const failures = {
    condition: new Failures("condition"),
    labels: new Failures("labels"),
    events: new Failures("events"),
  };
  const events = new EventWriter(client, book, settings.instance, (error) => failures.events.gaveUp(error), log);
  const resources = new PodResources(
    new PodLister(settings.podResourcesSocket, timing.podsTimeoutMs ?? PODS_TIMEOUT_MS),
    PODS_MS,
  );
  const lane = (what: string, fix: string, counted: Failures, work: (signal: AbortSignal) => Promise<Round>) =>
    new Lane({ ...RETRIES, ...timing, what, fix, work, failures: counted, log });
  const rights = (component: string) =>
    `apply the ClusterRole of deploy/kustomize/components/${component}, and see whether --node-name is the Node's name`;
  const lanes = {
    condition: lane(
      `the condition ${CONDITION}`,
      rights("kubernetes-events"),
      failures.condition,
      (signal) => condition.work(signal),
    ),
    labels: lane("the node's labels", rights("node-labels"), failures.labels, (signal) => labels.work(signal)),
    events: lane("the node's events", rights("kubernetes-events"), failures.events, (signal) => events.work(signal)),
  };
  let running: readonly Promise<void>[] = [];
  return {
    pods: settings.events ? podFinder(settings, client, resources, log) : null,
    sinks: {
      condition: settings.events
        ? (wanted: Parameters<ConditionWriter["want"]>[0]) => {
          condition.want(wanted, Date.now());
          lanes.condition.kick();
        }
        : null,
      labels: settings.labels
        ? (wanted: Labels) => {
          labels.want(wanted);
          lanes.labels.kick();
        }
        : null,
      event: settings.events
        ? (...[occurrence, regarding]: Parameters<NonNullable<Sinks["event"]>>) => {
          book.record(occurrence, regarding, Date.now());
          lanes.events.kick();
        }
        : null,
      nodeMayBeNew: () => node.forget(),
    },
    status: () => [
      ...settings.events ? [failures.condition.status, failures.events.status] : [],
      ...settings.labels ? [failures.labels.status] : [],
    ],
    start: (known: (same: boolean) => void) => {
      onKnown = known;
      running = Object.values(lanes).map((one) => one.run(stop.signal));
    },
    /** Resolves when no request is under way: each has a timer until its answer is read. */
    close: async () => {
      stop.abort();
      client.close();
      await resources.close();
      await Promise.all(running);
    },
  };
}

function podFinder(settings: ReportSettings, client: ApiClient, resources: PodResources, log: Log): PodFinder {
  let failing: string | null = null;
  return new PodFinder({
    list: () => resources.get(),
    kubeletDir: settings.kubeletDir,
    client,
    driver: settings.driver,
    pool: settings.node,
    onFailure: (reason) => {
      if (failing === null) log.warn(`the pods that hold a device get no event: ${reason}`);
      failing = reason;
    },
  });
}
