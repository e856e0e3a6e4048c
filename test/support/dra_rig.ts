/**
 * A node with DRA in this process: fake host, fake kubelet with its DRA manager, fake API server, and agents between them.
 *
 * @module
 */
import { mkdirSync } from "node:fs";
import { join } from "node:path";
import { Agent } from "../../src/agent/agent.ts";
import { type EventSource, trigger } from "../../src/hca/events/trigger.ts";
import { noVerbs } from "../../src/hca/verbs.ts";
import type { ResourceClaim, SliceDevice } from "../../src/kubernetes/resource_api.ts";
import type { ResourceSpec } from "../../src/pool/spec.ts";
import { type DeviceRequest, release, schedule } from "../../sim/api_server/scheduler.ts";
import { FakeApiServer, NODES, SLICES } from "../../sim/api_server/server.ts";
import { FakeHost, type HostDescription } from "../../sim/host/host.ts";
import { preset } from "../../sim/host/presets.ts";
import type { DraManager, DraPod } from "../../sim/kubelet/dra.ts";
import { FakeKubelet } from "../../sim/kubelet/kubelet.ts";
import { apiFlags } from "./api_server.ts";
import { draSpec, DRIVER } from "./dra.ts";
import { LogLines } from "./log_lines.ts";
import { memoryDir } from "./temp.ts";

export interface DraRigOptions {
  readonly host: string | HostDescription;
  readonly specs?: readonly ResourceSpec[];
  readonly wipeMs?: number;
  readonly before?: (api: FakeApiServer) => void;
  /** Whether an agent is started in this process; else the test starts plugins of its own. */
  readonly agent?: boolean;
}

/** Everything on the stage; `start` gives further agents, as a rolling update does. */
export class DraRig implements AsyncDisposable {
  readonly host: FakeHost;
  readonly api: FakeApiServer;
  readonly kubelet: FakeKubelet;
  readonly #log = new LogLines();
  readonly agents: Agent[] = [];
  readonly dir: string;
  readonly #temporary: ReturnType<typeof memoryDir>;
  readonly #specs: readonly ResourceSpec[];

  private constructor(temporary: ReturnType<typeof memoryDir>, api: FakeApiServer, options: DraRigOptions) {
    this.#temporary = temporary;
    this.dir = temporary.path;
    this.api = api;
    this.#specs = options.specs ?? [draSpec({ health: { ...draSpec().health, settleMs: 0 } })];
    this.host = FakeHost.create(
      join(this.dir, "host"),
      typeof options.host === "string" ? preset(options.host) : options.host,
    );
    mkdirSync(join(this.dir, "registry"));
    this.kubelet = new FakeKubelet({
      dir: join(this.dir, "kubelet"),
      pluginsRegistry: join(this.dir, "registry"),
      cdiDirs: [join(this.dir, "cdi")],
      podResourcesSocket: join(this.dir, "pods/kubelet.sock"),
      dra: {
        wipe: () => {
          for (const slice of api.slices) api.store.delete(SLICES, slice.metadata.name!);
        },
        ...options.wipeMs === undefined ? {} : { wipeMs: options.wipeMs },
      },
    });
  }

  static async start(options: DraRigOptions): Promise<DraRig> {
    const temporary = memoryDir();
    const api = await FakeApiServer.start(join(temporary.path, "sa"));
    api.store.create(NODES, { metadata: { name: "node-1", uid: "node-uid" } });
    options.before?.(api);
    const rig = new DraRig(temporary, api, options);
    await rig.kubelet.start();
    if (options.agent !== false) await rig.startAgent();
    return rig;
  }

  get dra(): DraManager {
    return this.kubelet.dra!;
  }

  get agent(): Agent {
    return this.agents.at(-1)!;
  }

  /** One more process of the plugin on the same node. */
  async startAgent(podUid = "", specs = this.#specs): Promise<Agent> {
    const agent = await Agent.start({
      specs,
      kubeletDir: join(this.dir, "kubelet"),
      registryDir: join(this.dir, "registry"),
      registration: "socket",
      cdiDir: join(this.dir, "cdi"),
      dra: {
        driver: DRIVER,
        node: "node-1",
        pluginsDir: join(this.dir, "plugins"),
        registryDir: join(this.dir, "registry"),
        cdiDir: join(this.dir, "cdi"),
        podUid,
        podResourcesSocket: join(this.dir, "pods/kubelet.sock"),
        sysfsRoot: this.host.sysfsRoot,
        access: () => this.api.access,
        timing: {
          roundMs: 20,
          firstRetryMs: 20,
          longestRetryMs: 100,
          heldMs: 50,
          podsMs: 200,
          retryMs: 50,
          resendMs: 200,
          patienceMs: 200,
        },
      },
      rescanMs: 0,
      machine: {
        roots: { sysfs: this.host.sysfsRoot, dev: this.host.devRoot },
        verbs: noVerbs({ kind: "not-asked", detail: "a test" }),
        netnsMode: () => "shared",
      },
      sources: [eventsOf(this.host)],
      log: this.#log.log,
      timing: { firstRetryMs: 20, maxRetryMs: 100, drainTimeoutMs: 500 },
      collectMs: 1,
    });
    this.agents.push(agent);
    return agent;
  }

  /** Flags for a plugin as a process of its own on the same node. */
  flags(podUid: string): readonly string[] {
    return [
      `--kubelet-dir=${join(this.dir, "kubelet")}`,
      `--plugins-registry=${join(this.dir, "registry")}`,
      `--plugins-dir=${join(this.dir, "plugins")}`,
      `--cdi-dir=${join(this.dir, "cdi")}`,
      `--pod-resources-socket=${join(this.dir, "pods/kubelet.sock")}`,
      `--sysfs-root=${this.host.sysfsRoot}`,
      `--dev-root=${this.host.devRoot}`,
      `--events=${this.host.eventsFile}`,
      "--node-name=node-1",
      `--pod-uid=${podUid}`,
      ...apiFlags(this.api),
    ];
  }

  /** Resolves when a line of the log matches. */
  logged(pattern: RegExp): Promise<string> {
    return this.#log.logged(pattern);
  }

  /** Resolves when the driver is registered and these devices are published. */
  async ready(devices: number): Promise<void> {
    await this.api.waitFor(() => this.devices.length === devices, `${devices} devices`);
    await this.dra.waitFor(() => this.dra.drivers.length > 0 && this.dra.reports > 0, "the registration");
  }

  get devices(): readonly SliceDevice[] {
    return this.api.slices.flatMap((one) => one.spec.devices ?? []);
  }

  /** Keys of a device's taints, without the domain. */
  taints(name: string): readonly string[] {
    return (this.devices.find((one) => one.name === name)?.taints ?? []).map((one) => one.key.split("/")[1]!);
  }

  /** A claim with its allocation; null while it would be pending. */
  claim(name: string, ...requests: DeviceRequest[]): ResourceClaim | null {
    return schedule(this.api, name, requests.length === 0 ? [{}] : requests);
  }

  /** Runs a pod with that one claim. @throws with the driver's words */
  run(claim: ResourceClaim): Promise<DraPod> {
    const { name = "", uid = "" } = claim.metadata;
    return this.dra.runPod(`pod-${name}`, [{ namespace: "default", name, uid, driver: DRIVER }]);
  }

  /** The pod is deleted, and then its claim. */
  async remove(name: string): Promise<void> {
    await this.dra.removePod(`pod-${name}`);
    release(this.api, name);
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await Promise.all(this.agents.map((one) => one.close()));
    await this.kubelet.close();
    await this.api.close();
    this.host.close();
    this.#temporary[Symbol.dispose]();
  }
}

function eventsOf(host: FakeHost): EventSource {
  return {
    name: "the fake host",
    run: (emit, signal) => {
      const stop = host.onEvent((lines) => emit(trigger("fake", lines[0] ?? "")));
      return new Promise((resolve) =>
        signal.addEventListener("abort", () => {
          stop();
          resolve();
        })
      );
    },
  };
}
