/**
 * A whole plugin in this process: fake host, fake kubelet, agent, and the HTTP server on a free port of the loopback.
 *
 * @module
 */
import { Server, ServerCredentials } from "@grpc/grpc-js";
import { request } from "node:http";
import { join } from "node:path";
import type { Agent, AgentState } from "../../src/agent/agent.ts";
import { podResourcesServices } from "../../src/kubelet/api.ts";
import type { Limits } from "../../src/observe/http.ts";
import { SILENT } from "../../src/text/log.ts";
import { StatusServer } from "../../src/observe/status_server.ts";
import { DEFAULT_SPEC, type ResourceSpec } from "../../src/pool/spec.ts";
import { type FakeHost, type HostDescription, manyHcas } from "../../sim/host/host.ts";
import type { FakeKubelet } from "../../sim/kubelet/kubelet.ts";
import { Waits } from "../../sim/waits.ts";
import { RESOURCE } from "./kubelet.ts";
import { temporaryDir } from "./temp.ts";
import { world } from "./world.ts";

/** What a rig is made of. */
export interface RigOptions {
  readonly host: HostDescription;
  readonly specs?: readonly ResourceSpec[];
  readonly limits?: Partial<Limits>;
  readonly node?: string;
  /** False: the kubelet is down until `kubelet.start()`. */
  readonly kubelet?: boolean;
  /** Socket of a kubelet's PodResources API, whoever serves it. */
  readonly podResources?: string;
  /** What the rig's own PodResources API says. */
  readonly pods?: readonly object[];
}

/** An answer of the server. */
export interface Got {
  readonly status: number;
  readonly headers: Readonly<Record<string, string | string[] | undefined>>;
  readonly body: string;
}

export interface Rig extends AsyncDisposable {
  readonly host: FakeHost;
  readonly kubelet: FakeKubelet;
  readonly agent: Agent;
  readonly port: number;
  readonly url: string;
  get(path: string, method?: string): Promise<Got>;
  /** Resolves when the plugin counts as registered and the kubelet has a healthy device. */
  registered(): Promise<void>;
  /** Resolves when the agent's state satisfies; asked after each of its changes. */
  state(holds: (state: AgentState) => boolean, what: string): Promise<void>;
}

/** Starts everything; the first scan is finished, the kubelet need not know us yet. */
export async function rig(options: RigOptions): Promise<Rig> {
  await using cleanup = new AsyncDisposableStack();
  let { podResources = null } = options;
  if (options.pods !== undefined) {
    podResources = join(cleanup.use(temporaryDir()).path, "pods.sock");
    cleanup.use(await servePods(podResources, () => options.pods!));
  }
  let statusServer: StatusServer | undefined;
  const { host, kubelet, agent, [Symbol.asyncDispose]: end } = await world({
    host: options.host,
    specs: options.specs ?? [DEFAULT_SPEC],
    kubeletUp: options.kubelet !== false,
    observer: async ({ sysfsRoot }) => {
      statusServer = await StatusServer.start({
        address: { host: "127.0.0.1", port: 0 },
        node: options.node ?? "node-1",
        version: "0.0.0-test",
        sysfsRoot,
        rescanMs: 0,
        podResources,
        log: SILENT,
        ...options.limits === undefined ? {} : { limits: options.limits },
      });
      return statusServer.observer;
    },
  });
  cleanup.defer(end);
  const server = statusServer!;
  cleanup.defer(() => server.close());
  server.attach(agent);
  const port = server.port!;
  const state: Rig["state"] = async (holds, what) => {
    const waits = new Waits();
    const stop = agent.observe({ onState: waits.changed });
    await waits.until(() => holds(agent.state), what).finally(stop);
  };
  const rest = cleanup.move();
  return {
    host,
    kubelet,
    agent,
    port,
    url: `http://127.0.0.1:${port}`,
    get: (path, method = "GET") => get(port, path, method),
    state,
    registered: async () => {
      await state(registered, "the plugin registers");
      const has = (resource: string) => ({ resources }: ReturnType<FakeKubelet["state"]>) =>
        (resources[resource]?.allocatable ?? 0) > 0;
      for (const resource of agent.state.inventory!.states.keys()) {
        await kubelet.waitFor(has(resource), { what: "a list" });
      }
    },
    [Symbol.asyncDispose]: () => rest.disposeAsync(),
  };
}

/** Whether every resource is registered and followed. */
export function registered(state: AgentState): boolean {
  return state.sessions.length > 0 && state.sessions.every((one) => one.phase === "registered" && one.streams > 0);
}

/** One request on a connection of its own. */
export function get(port: number, path: string, method = "GET"): Promise<Got> {
  return new Promise((resolve, reject) => {
    const asked = request({ host: "127.0.0.1", port, path, method, agent: false }, (response) => {
      let body = "";
      response.setEncoding("utf8");
      response.on("data", (text: string) => body += text);
      response.on("end", () => resolve({ status: response.statusCode ?? 0, headers: response.headers, body }));
      response.on("error", reject);
    });
    asked.on("error", reject);
    asked.end();
  });
}

/** A host with so many HCAs whose ports have all of the kernel's counters. */
export function withCounters(n: number): HostDescription {
  const { hcas } = manyHcas(n);
  return { hcas: hcas.map((hca) => ({ ...hca, ports: hca.ports.map((port) => ({ ...port, counters: true })) })) };
}

/** A kubelet that serves nothing but PodResources, with the pods that there are when it is asked. */
export async function servePods(socket: string, pods: () => readonly object[]): Promise<AsyncDisposable> {
  const server = new Server();
  server.addService(podResourcesServices()["v1.PodResourcesLister"], {
    List: (_: unknown, reply: (error: null, answer: object) => void) => reply(null, { pod_resources: pods() }),
  });
  await new Promise<void>((resolve, reject) =>
    server.bindAsync(
      `unix:${socket}`,
      ServerCredentials.createInsecure(),
      (error) => error === null ? resolve() : reject(error),
    )
  );
  return {
    [Symbol.asyncDispose]: () =>
      new Promise<void>((resolve) => {
        server.tryShutdown(() => resolve());
        server.forceShutdown();
      }),
  };
}

/** One pod with one container on these devices. */
export function pod(namespace: string, name: string, device_ids: readonly string[], resource_name = RESOURCE): object {
  return { name, namespace, containers: [{ name: "main", devices: [{ resource_name, device_ids }] }] };
}
