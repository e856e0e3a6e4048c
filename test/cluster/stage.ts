/**
 * What a situation plays on: a cluster whose node is Ready, a plugin deployed in it, pods that ask for devices.
 *
 * @module
 */
import { readFileSync } from "node:fs";
import { join } from "node:path";
import { parseAllDocuments } from "yaml";
import type { Cluster } from "../support/cluster/cluster.ts";
import { NODE_NAME, SANDBOX_IMAGE } from "../support/cluster/config_files.ts";
import { eventually } from "../support/eventually.ts";
import type { DaemonSetObject, Manifest, NodeObject, PodObject } from "../support/cluster/objects.ts";
import { type Deployment, writeKustomization } from "./deployment.ts";
import { HCAS, RESOURCE } from "./host.ts";

const PODS = "/api/v1/namespaces/default/pods";
export const DAEMONSET = "/apis/apps/v1/namespaces/kube-system/daemonsets/rdma-device-plugin";
const PLUGIN_PODS = "/api/v1/namespaces/kube-system/pods?labelSelector=app.kubernetes.io%2Fname%3Drdma-device-plugin";

/** What a container asks for, and what it runs; by default it sleeps. */
export interface ContainerRequest {
  readonly name?: string;
  readonly limits?: Readonly<Record<string, number>>;
  /** Names of the pod's claims. */
  readonly claims?: readonly { readonly name: string }[];
  readonly script?: string;
  /** What it may do beyond the runtime's default. */
  readonly capabilities?: readonly string[];
}

/** One cluster, used by one situation after the other. */
export class Stage {
  #deployed: Deployment | null = null;
  #podNumber = 0;

  constructor(readonly cluster: Cluster) {}

  /** Makes this the deployment, if it is not already, and waits until it is Ready. */
  async use(deployment: Deployment): Promise<void> {
    if (this.#deployed !== deployment) {
      await this.undeploy();
      const dir = writeKustomization(join(this.cluster.dir, "deployment"), deployment);
      for (const object of parseAllDocuments(this.cluster.kubectl(["kustomize", dir]))) {
        await this.cluster.api.apply(object.toJS() as Manifest);
      }
      this.#deployed = deployment;
    }
    await this.deployed();
  }

  /** Removes whatever DaemonSet of ours there is, and waits until its pods are gone. */
  async undeploy(): Promise<void> {
    this.#deployed = null;
    await this.cluster.api.delete(DAEMONSET, { propagationPolicy: "Background" });
    for (const pod of await this.pluginPods()) await this.gone(pod.metadata.name, "kube-system");
  }

  /** Waits until the DaemonSet runs what was last applied, and is Ready. */
  async deployed(path = DAEMONSET): Promise<void> {
    await this.cluster.api.until<DaemonSetObject, boolean>(
      path,
      (set) =>
        set !== null && set.status.observedGeneration === set.metadata.generation &&
        set.status.desiredNumberScheduled === 1 && set.status.updatedNumberScheduled === 1 &&
        set.status.numberAvailable === 1,
      "the plugin's DaemonSet to be Ready",
      30_000,
    );
  }

  async pluginPods(): Promise<readonly PodObject[]> {
    return (await this.cluster.api.list<PodObject>(PLUGIN_PODS)).items;
  }

  /** Waits until the node offers that many devices. */
  async allocatable(resource: string, count: number, timeoutMs?: number): Promise<void> {
    await this.cluster.untilNode(
      (node) => Number(node.status.allocatable?.[resource] ?? 0) === count,
      `${count} ${resource} allocatable`,
      timeoutMs,
    );
  }

  node(): Promise<NodeObject> {
    return this.cluster.api.get<NodeObject>(`/api/v1/nodes/${NODE_NAME}`);
  }

  /** Creates a pod of these containers; gives its name. */
  async create(...containers: readonly ContainerRequest[]): Promise<string> {
    const name = `user-${++this.#podNumber}`;
    await this.cluster.api.create(PODS, podObject(name, containers));
    return name;
  }

  /** Creates a pod and waits until it runs. */
  async run(...containers: readonly ContainerRequest[]): Promise<string> {
    const name = await this.create(...containers);
    await this.untilPod(name, (pod) => pod?.status.phase === "Running" && allRun(pod), "a running pod");
    return name;
  }

  /** Applies manifests as a user does, and waits until these pods of them run. */
  async apply(manifests: string, ...names: readonly string[]): Promise<void> {
    this.cluster.kubectl(["apply", "-f", "-"], manifests);
    for (const name of names) {
      await this.untilPod(name, (pod) => pod?.status.phase === "Running" && allRun(pod), "a running pod");
    }
  }

  untilPod<T>(
    name: string,
    wanted: (pod: PodObject | null) => T | false | null | undefined,
    what: string,
    timeoutMs?: number,
  ): Promise<T> {
    return this.cluster.api.until<PodObject, T>(`${PODS}/${name}`, wanted, what, timeoutMs);
  }

  pod(name: string): Promise<PodObject> {
    return this.cluster.api.get<PodObject>(`${PODS}/${name}`);
  }

  /** Deletes a pod and waits until it is gone. */
  async delete(name: string): Promise<void> {
    await this.cluster.api.delete(`${PODS}/${name}`, NOW);
    await this.gone(name);
  }

  /** The plugin's process, as the machine numbers it. */
  pluginPid(): number {
    const pid = this.pluginPidOrNull();
    if (pid === null) throw new Error("The plugin does not run");
    return pid;
  }

  pluginPidOrNull(): number | null {
    const found = this.cluster.node.containerPids((command) => command.includes("/app/rdma-device-plugin.mjs"));
    return found[0] ?? null;
  }

  /** A command of the plugin's program, run in the plugin's pod; gives what it printed. */
  async plugin(...words: readonly string[]): Promise<string> {
    const [pod] = await this.pluginPods();
    const command = ["-n", "kube-system", "exec", pod!.metadata.name, "--", "/app/rdma-device-plugin.mjs"];
    return this.cluster.kubectl([...command, ...words]);
  }

  /** Waits until the plugin's metrics have such a line. */
  async metricsSay(line: RegExp): Promise<void> {
    const [pod] = await this.pluginPods();
    const path = `/api/v1/namespaces/kube-system/pods/${pod!.metadata.name}:9178/proxy/metrics`;
    let text = "";
    await eventually(
      async () => line.test(text = await this.cluster.api.text(path)),
      () => `metrics with ${line}: ${text.split("\n").filter((one) => /pod=/.test(one)).join("\n")}`,
      { timeoutMs: 20_000 },
    );
  }

  /** What the plugin has left on the node: sockets and CDI specs. */
  leftOnNode(): readonly string[] {
    const directories = ["/var/lib/kubelet/device-plugins", "/var/lib/kubelet/plugins_registry", "/run/cdi"];
    return this.cluster.space.run(["find", ...directories, "-name", "*rdma*"], { tolerant: true }).split("\n")
      .filter((path) => path !== "");
  }

  /** Starts the kubelet again with these settings over the usual ones, and waits until it has the plugin's list. */
  async withKubelet(
    settings: Readonly<Record<string, unknown>>,
    play: () => Promise<void>,
    devices?: number,
  ): Promise<void> {
    const restart = async (now: Readonly<Record<string, unknown>>) => {
      await this.cluster.node.stopKubelet();
      await this.cluster.node.startKubelet(now);
      await this.cluster.nodeReady();
      await this.servedAgain(devices);
    };
    await restart(settings);
    try {
      await play();
    } finally {
      await this.tidy();
      await restart({});
    }
  }

  /** Removes CDI specs of earlier situations: they stay for containers that ended a moment before their plugin. */
  removeSpecs(): void {
    this.cluster.space.run(["sh", "-c", "rm -f /run/cdi/*"]);
  }

  async configMap(name: string, data: Readonly<Record<string, string>>): Promise<void> {
    const map = { apiVersion: "v1", kind: "ConfigMap", metadata: { name }, data };
    await this.cluster.api.delete(`/api/v1/namespaces/kube-system/configmaps/${name}`);
    await this.cluster.api.create("/api/v1/namespaces/kube-system/configmaps", map);
  }

  async namespace(name: string, labels: Readonly<Record<string, string>>): Promise<void> {
    await this.cluster.api.create("/api/v1/namespaces", { metadata: { name, labels } });
    const account = `/api/v1/namespaces/${name}/serviceaccounts/default`;
    await this.cluster.api.until(account, (one) => one, `the default account of ${name}`);
  }

  /** Waits until one of the plugin's pods is as wanted. */
  async untilAnyPluginPod(wanted: (pod: PodObject) => boolean): Promise<void> {
    await eventually(async () => (await this.pluginPods()).some(wanted), "a pod of the plugin that is as wanted");
  }

  /** Waits until the DaemonSet has no pod of before left. */
  async onePluginPod(): Promise<void> {
    await eventually(async () => (await this.pluginPods()).length === 1, "a single pod of the plugin");
  }

  /** The node after each of its changes. */
  async *followNode(signal: AbortSignal): AsyncGenerator<NodeObject> {
    for await (const node of this.cluster.api.follow<NodeObject>(`/api/v1/nodes/${NODE_NAME}`, signal)) {
      if (node !== null) yield node;
    }
  }

  /**
   * Waits until a kubelet that was started again has the plugin's list. The node object may still say what it was before,
   * and the kubelet counts a registration before it has a list, so its log is what tells.
   */
  async servedAgain(devices = 4): Promise<void> {
    // Before it knows the node's pods, devices of pods that are gone count as taken.
    await this.#kubeletLogged(`"State pushed for device plugin" resource="${RESOURCE}"`, '"SyncLoop ADD" source="api"');
    await this.allocatable(RESOURCE, devices, 30_000);
  }

  /**
   * Waits until a kubelet that was started again has found the plugin Ready. A plugin that ran for less than ten seconds
   * before counts as not Ready until then, and what the API server says of it may be from before.
   */
  async probedAgain(): Promise<void> {
    const [pod] = await this.pluginPods();
    const name = `kube-system/${pod!.metadata.name}`;
    await this.#kubeletLogged(`"SyncLoop (probe)" probe="readiness" status="ready" pod="${name}"`);
    await this.untilAnyPluginPod((one) =>
      one.status.conditions?.some(({ type, status }) => type === "Ready" && status === "True") ?? false
    );
  }

  /** Waits until the kubelet has logged all of these since its last start. */
  async #kubeletLogged(...needed: readonly string[]): Promise<void> {
    let absent = needed;
    await eventually(() => {
      const log = readFileSync(join(this.cluster.dir, "logs/kubelet.log"), "utf8");
      const now = log.slice(log.lastIndexOf("Creating Container Manager object"));
      absent = needed.filter((one) => !now.includes(one));
      return absent.length === 0;
    }, () => `a kubelet's log with ${absent.join(" and ")}`);
  }

  /** The container's shell runs this; gives what it printed, errors too. */
  exec(pod: string, script: string, container = "c0"): string {
    return this.cluster.kubectl(["exec", pod, "--container", container, "--", "sh", "-c", `{ ${script}; } 2>&1`])
      .trim();
  }

  /** Waits until a pod is gone. */
  async gone(name: string, namespace = "default"): Promise<void> {
    const path = `/api/v1/namespaces/${namespace}/pods/${name}`;
    await this.cluster.api.until<PodObject, boolean>(path, (pod) => pod === null, `${name} to be gone`, 30_000);
  }

  /** Back to the start: no pods, every HCA there, every port up. */
  async tidy(): Promise<void> {
    const { items } = await this.cluster.api.list<PodObject>(PODS);
    for (const { metadata } of items) await this.cluster.api.delete(`${PODS}/${metadata.name}`, NOW);
    const { host } = this.cluster;
    for (const name of host.removedHcas()) await host.restoreHca(name);
    for (const name of HCAS) await host.portUp(name, 1);
    this.cluster.mirrorNodes();
    for (const { metadata } of items) await this.gone(metadata.name);
  }
}

const NOW = { gracePeriodSeconds: 0 };

/** Whether all containers of a pod run. */
export function allRun(pod: PodObject): boolean {
  return pod.status.containerStatuses?.every(({ state }) => state?.running !== undefined) ?? false;
}

/** What a pod's status says of one of its devices. */
export function allocatedHealth(pod: PodObject, resource: string, device: string): string | undefined {
  return pod.status.containerStatuses?.flatMap((one) => one.allocatedResourcesStatus ?? [])
    .find(({ name }) => name === resource)?.resources.find(({ resourceID }) => resourceID === device)?.health;
}

/** A pod of small containers; `more` is whatever else its spec has. */
export function podObject(name: string, containers: readonly ContainerRequest[], more: object = {}): object {
  return {
    apiVersion: "v1",
    kind: "Pod",
    metadata: { name },
    spec: {
      automountServiceAccountToken: false,
      enableServiceLinks: false,
      terminationGracePeriodSeconds: 0,
      containers: containers.map((
        { name: own, limits, claims, script = "exec sleep 100000", capabilities = [] },
        index,
      ) => ({
        name: own ?? `c${index}`,
        image: SANDBOX_IMAGE,
        imagePullPolicy: "Never",
        command: ["sh", "-c", script],
        resources: { ...limits === undefined ? {} : { limits }, ...claims === undefined ? {} : { claims } },
        ...capabilities.length === 0 ? {} : { securityContext: { capabilities: { add: capabilities } } },
      })),
      ...more,
    },
  };
}
