/**
 * The HTTP endpoints behind `--http`: metrics, probes and the status page. Loaded only when needed.
 *
 * @module
 */
import { randomBytes } from "node:crypto";
import { setTimeout as delay } from "node:timers/promises";
import type { Agent } from "../agent/agent.ts";
import type { AgentObserver, AgentState } from "../agent/observer.ts";
import type { WriteStatus } from "../kubernetes/failures.ts";
import { PodLister, PodResources } from "../kubelet/pod_resources.ts";
import type { ListenAddress } from "./address.ts";
import { EventStreams } from "./event_streams.ts";
import { type Answer, HttpServer, type Limits, openStream, plain, type Route } from "./http.ts";
import type { Log } from "../text/log.ts";
import { Metrics } from "./metrics.ts";
import { fragment, page } from "./page.ts";
import { type StatusModel, statusModel } from "./page_model.ts";
import { PortCounters } from "../hca/port_counters.ts";
import { dead, unready } from "./readiness.ts";

export interface StatusServerOptions {
  readonly address: ListenAddress;
  /** Name of this machine on the page. */
  readonly node: string;
  readonly version: string;
  readonly sysfsRoot: string;
  /** Milliseconds between scans; 0 for none. */
  /** Used until an agent is attached. */
  readonly rescanMs: number;
  /** The kubelet's PodResources socket; null to not ask for pods. */
  readonly podResources: string | null;
  /** Name of the DRA driver. */
  readonly draDriver?: string;
  /** What became of reports to the API server; absent when there are none. */
  readonly reports?: () => readonly WriteStatus[];
  readonly log: Log;
  readonly limits?: Partial<Limits>;
  /** Milliseconds between attempts to listen on an address in use. */
  readonly listenAgainMs?: number;
}

/** During a DaemonSet rollout the old pod uses the address and frees it soon. */
const LISTEN_AGAIN_MS = 5_000;

/** The part of the agent that is used. */
type Watched = Pick<Agent, "state"> & Partial<Pick<Agent, "rescanMs">>;

/** Observes one agent and serves its state over HTTP. */
export class StatusServer {
  /** Pass it to {@link Agent.start} to include the first scan. */
  readonly observer: AgentObserver;
  readonly #options: StatusServerOptions;
  readonly #pods: PodResources | null;
  readonly #metrics: Metrics;
  readonly #streams: EventStreams;
  readonly #stop = new AbortController();
  #listening: Promise<void> = Promise.resolve();
  #server: HttpServer | null = null;
  #agent: Watched | null = null;
  #scannedAt = performance.now();

  private constructor(options: StatusServerOptions) {
    this.#options = options;
    const { podResources, sysfsRoot, version, log } = options;
    this.#pods = podResources === null ? null : new PodResources(new PodLister(podResources));
    this.#streams = new EventStreams({
      render: async () => await fragment(await this.#model()),
      onProblem: (sentence) => log.error(sentence),
    });
    this.#metrics = new Metrics({
      version,
      counters: new PortCounters({ sysfs: sysfsRoot }),
      pods: this.#pods,
      ...options.draDriver === undefined ? {} : { draDriver: options.draDriver },
      ...options.reports === undefined ? {} : { reports: options.reports },
      watchers: () => this.#streams.size,
    });
    this.observer = this.#observe();
  }

  /**
   * Starts listening. An address in use must not keep pods waiting: the plugin continues without HTTP and retries.
   */
  static async start(options: StatusServerOptions): Promise<StatusServer> {
    const statusServer = new StatusServer(options);
    const reason = await statusServer.#listen();
    if (reason !== null) {
      options.log.error(`${reason}; metrics, probes and the status page are not available, will be retried`);
      statusServer.#listening = statusServer.#listenLater();
    }
    return statusServer;
  }

  /** The port it listens on; null while the address is in use. */
  get port(): number | null {
    return this.#server?.port ?? null;
  }

  /** Serves the state of this agent from now on. */
  attach(agent: Watched): void {
    this.#agent = agent;
    this.#streams.changed();
  }

  /** Closes all connections. */
  async close(): Promise<void> {
    this.#stop.abort();
    await this.#listening;
    await this.#streams.close();
    await this.#server?.close();
    await this.#pods?.close();
  }

  /** Returns null on success, otherwise the reason. */
  async #listen(): Promise<string | null> {
    const { address, limits, log } = this.#options;
    try {
      this.#server = await HttpServer.listen(address, {
        routes: this.#routes(),
        onRequest: (path, code) => this.#metrics.onRequest(path, code),
        onProblem: (sentence) => log.warn(sentence),
        ...limits === undefined ? {} : { limits },
      });
      log.info(`metrics, probes and a status page on http://${address.host ?? "localhost"}:${this.#server.port}/`);
      return null;
    } catch (error) {
      return error instanceof Error ? error.message : String(error);
    }
  }

  async #listenLater(): Promise<void> {
    const { signal } = this.#stop;
    const pause = this.#options.listenAgainMs ?? LISTEN_AGAIN_MS;
    do {
      // Rejects only when the plugin stops, which ends the loop.
      await delay(pause, undefined, { signal, ref: false }).catch(() => undefined);
    } while (!signal.aborted && await this.#listen() !== null);
  }

  #routes(): Readonly<Record<string, Route>> {
    const answer = (make: () => Answer | Promise<Answer>): Route => ({ kind: "answer", answer: make });
    return {
      "/": answer(() => this.#page()),
      "/metrics": answer(async () => ({
        status: 200,
        type: this.#metrics.contentType,
        body: await this.#metrics.text(this.#state),
      })),
      "/livez": answer(() => {
        const reason = dead(performance.now() - this.#scannedAt, this.#agent?.rescanMs ?? this.#options.rescanMs);
        return reason === null ? plain(200, "ok") : plain(503, reason);
      }),
      "/readyz": answer(() => {
        const reasons = unready(this.#state?.sessions ?? null);
        return reasons.length === 0 ? plain(200, "ok") : plain(503, reasons.join("\n"));
      }),
      "/state.json": answer(async () => ({
        status: 200,
        type: "application/json",
        body: `${JSON.stringify(await this.#model(), null, 1)}\n`,
      })),
      "/events": {
        kind: "stream",
        open: (response) => {
          if (this.#streams.full) return plain(503, "too many open event streams; load / instead");
          openStream(response);
          this.#streams.add(response);
          return null;
        },
      },
    };
  }

  async #page(): Promise<Answer> {
    const nonce = randomBytes(16).toString("base64");
    const policy = `default-src 'none'; script-src 'nonce-${nonce}'; style-src 'nonce-${nonce}'; img-src data:; ` +
      "connect-src 'self'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'";
    const body = await page(await this.#model(), nonce);
    return { status: 200, type: "text/html; charset=utf-8", body, headers: { "content-security-policy": policy } };
  }

  get #state(): AgentState | null {
    return this.#agent?.state ?? null;
  }

  async #model(): Promise<StatusModel> {
    const pods = await this.#pods?.get() ?? null;
    return statusModel(this.#state, pods, this.#options);
  }

  #observe(): AgentObserver {
    return {
      ...this.#metrics.observer,
      onScan: (scan, changed) => {
        this.#scannedAt = performance.now();
        this.#metrics.observer.onScan?.(scan, changed);
      },
      onState: () => this.#streams.changed(),
    };
  }
}
