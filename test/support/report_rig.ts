/**
 * A node that reports to a fake API server: fake host, fake kubelet with PodResources, agent and reports in this process.
 *
 * @module
 */
import { mkdirSync } from "node:fs";
import { join } from "node:path";
import { openReports, type Reports, type ReportSettings } from "../../src/report/open.ts";
import type { KubernetesEvent, LabelledNode, NodeCondition } from "../../src/kubernetes/core_api.ts";
import type { WriteStatus } from "../../src/kubernetes/failures.ts";
import { DEFAULT_SPEC, type ResourceSpec } from "../../src/pool/spec.ts";
import { EVENTS, FakeApiServer, NODES } from "../../sim/api_server/server.ts";
import type { HostDescription } from "../../sim/mod.ts";
import { LogLines } from "./log_lines.ts";
import { temporaryDir } from "./temp.ts";
import { QUICK_HEALTH, type World, world } from "./world.ts";

export const NODE = "node-1";

export interface ReportRigOptions {
  readonly host: string | HostDescription;
  readonly specs?: readonly ResourceSpec[];
  readonly settings?: Partial<ReportSettings>;
  /** Before the plugin starts. */
  readonly before?: (api: FakeApiServer) => void | Promise<void>;
  readonly kubeletUp?: boolean;
}

export class ReportRig implements AsyncDisposable {
  readonly log = new LogLines();
  readonly #reports: Reports[] = [];

  private constructor(
    readonly dir: string,
    readonly api: FakeApiServer,
    readonly world: World,
    readonly options: ReportRigOptions,
    readonly end: () => void,
  ) {}

  static async start(options: ReportRigOptions): Promise<ReportRig> {
    const dir = temporaryDir();
    const api = await FakeApiServer.start(join(dir.path, "sa"));
    api.store.create(NODES, { metadata: { name: NODE, uid: "node-uid", labels: { "kubernetes.io/os": "linux" } } });
    await options.before?.(api);
    const host = await world({
      host: options.host,
      specs: options.specs ?? [{ ...DEFAULT_SPEC, health: QUICK_HEALTH }],
      kubelet: { podResourcesSocket: join(dir.path, "pods/kubelet.sock") },
      ...options.kubeletUp === undefined ? {} : { kubeletUp: options.kubeletUp },
    });
    const rig = new ReportRig(dir.path, api, host, options, () => dir[Symbol.dispose]());
    rig.report();
    return rig;
  }

  /** Starts reporting, as a new process of the plugin does. */
  report(): void {
    const { timing, ...settings } = this.options.settings ?? {};
    const reports = openReports({
      node: NODE,
      instance: "plugin-x1",
      events: true,
      labels: false,
      featureDir: null,
      access: () => this.api.access,
      kubeletDir: join(this.world.dir, "kubelet/device-plugins"),
      podResourcesSocket: join(this.dir, "pods/kubelet.sock"),
      driver: "rdma.tencent.com",
      ...settings,
      timing: {
        firstRetryMs: 10,
        longestRetryMs: 50,
        refusedRetryMs: 50,
        seriesGapMs: 20,
        nodeEveryMs: 10,
        calmMs: 300,
        // On a busy machine the fake kubelet, in this same process, may need more than the second of a node.
        podsTimeoutMs: 30_000,
        ...timing,
      },
    }, this.log.log);
    this.#reports.push(reports);
    reports.attach(this.world.agent);
  }

  /** Ends reporting, as a process of the plugin that stops does. */
  async stopReporting(): Promise<void> {
    await this.#reports.pop()?.close();
  }

  /** What became of one kind of writes. */
  status(what: string): WriteStatus | undefined {
    return this.#reports.at(-1)?.status().find((one) => one.what === what);
  }

  get node(): LabelledNode {
    return this.api.store.get(NODES, NODE) as unknown as LabelledNode;
  }

  get condition(): NodeCondition | undefined {
    return this.node.status?.conditions?.find((one) => one.type === "RDMAReady");
  }

  /** Events of a reason, about the node or a pod. */
  events(reason: string, kind: "Node" | "Pod" = "Node"): readonly KubernetesEvent[] {
    const all = this.api.store.list(EVENTS) as unknown as readonly KubernetesEvent[];
    return all.filter((one) => one.reason === reason && one.regarding.kind === kind);
  }

  /** Resolves when the condition has that status, and that reason. */
  async ready(status: "True" | "False", reason?: string): Promise<NodeCondition> {
    const holds = () =>
      this.condition?.status === status && (reason === undefined || this.condition.reason === reason) && this.condition;
    return await this.api.waitFor(holds, `RDMAReady is ${status}`);
  }

  async [Symbol.asyncDispose](): Promise<void> {
    for (const one of this.#reports) await one.close();
    await this.world[Symbol.asyncDispose]();
    await this.api.close();
    this.end();
  }
}

/** Makes a directory below another and gives its path. */
export function directory(parent: string, name: string): string {
  const path = join(parent, name);
  mkdirSync(path, { recursive: true });
  return path;
}
