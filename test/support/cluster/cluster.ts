/**
 * A Kubernetes cluster of one node on this machine: a real control plane, a real kubelet and a real containerd, between a
 * fake host below and whoever asks above. Starting takes seconds; afterwards nothing of it is left.
 *
 * @module
 */
import { existsSync, mkdirSync, mkdtempSync, readdirSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { basename, join } from "node:path";
import process from "node:process";
import { FakeHost, type HostDescription } from "../../../sim/mod.ts";
import { eventually } from "../eventually.ts";
import { Api } from "./api.ts";
import { killAndRemoveCgroup } from "./cgroups.ts";
import { configPaths, type KubeletSettings, NODE_NAME, TOKENS, writeConfigFiles } from "./config_files.ts";
import { type ApiServer, type Features, startControlPlane } from "./control_plane.ts";
import { createHost, mirrorNodes } from "./hardware.ts";
import { ensureImages, importImages } from "./images.ts";
import { ClusterNode } from "./node.ts";
import type { NodeObject } from "./objects.ts";
import { ensurePrograms, kubectlPath, type Programs } from "./programs.ts";
import { isAlive, Space, type SpacePlace, tail } from "./space.ts";
import type { Versions } from "./versions.ts";
import { run } from "../run.ts";

export interface ClusterOptions extends Partial<Features> {
  readonly versions: Versions;
  readonly host: HostDescription;
  readonly kubelet?: KubeletSettings;
  /** Where everything is; default: a new temporary directory. */
  readonly dir?: string;
  /** Whether it goes on when this process ends; default: no. */
  readonly outlives?: boolean;
  /** Told about builds and the start. */
  readonly report?: (line: string) => void;
}

/** What another process needs to find a cluster that outlived its starter. */
export interface ClusterRecord {
  readonly place: SpacePlace;
  readonly versions: Versions;
  readonly cgroup: string;
}

/** Of temporary clusters' directories, and so of their cgroups. */
const PREFIX = "rdma-cluster-";
const NODE_PATH = `/api/v1/nodes/${NODE_NAME}`;

/** A cluster that runs. */
export class Cluster implements AsyncDisposable {
  private constructor(
    readonly dir: string,
    readonly versions: Versions,
    readonly space: Space,
    readonly programs: Programs,
    readonly node: ClusterNode,
    readonly host: FakeHost,
    readonly api: Api,
    private readonly server: ApiServer,
  ) {}

  /** Starts a cluster and waits until its node is Ready and both images are in it. */
  static async start(options: ClusterOptions): Promise<Cluster> {
    const { versions, report = () => {}, featureGates = {}, apiGroups = [], outlives = false } = options;
    await removeAbandoned();
    const programs = await ensurePrograms(versions, report);
    const archives = ensureImages(report);
    const dir = options.dir ?? mkdtempSync(join(tmpdir(), PREFIX));
    const cgroup = basename(dir);
    for (const name of ["logs", "pki", "cni"]) mkdirSync(join(dir, name), { recursive: true });
    const begun = performance.now();
    const host = createHost(dir, options.host);
    let space: Space | null = null;
    try {
      space = await Space.create(dir, cgroup, outlives);
      const record: ClusterRecord = { place: space.place, versions, cgroup };
      writeFileSync(join(dir, "cluster.json"), JSON.stringify(record));
      mirrorNodes(host, space);
      const url = serverUrl(space);
      writeConfigFiles(dir, url);
      const node = new ClusterNode(space, programs, cgroup, featureGates);
      const containerd = node.startContainerd();
      const server = await startControlPlane(space, programs, { featureGates, apiGroups });
      const api = new Api({ url, caFile: configPaths(dir).ca, token: TOKENS.admin });
      await containerd;
      importImages(space, join(programs.containerdDir, "ctr"), archives);
      await serverIsReady(api, dir);
      await node.startKubelet(options.kubelet);
      const cluster = new Cluster(dir, versions, space, programs, node, host, api, server);
      await cluster.nodeReady();
      report(`the node is Ready, ${((performance.now() - begun) / 1e3).toFixed(1)} s after the start`);
      return cluster;
    } catch (error) {
      await space?.end();
      await removeRest(dir, cgroup);
      throw error;
    }
  }

  /** Where the API server is for this machine; pods have it by the address of its service. */
  get url(): string {
    return serverUrl(this.space);
  }

  get kubeconfig(): string {
    return configPaths(this.dir).adminKubeconfig;
  }

  /** Waits until the node object is as wanted. */
  untilNode<T>(
    wanted: (node: NodeObject) => T | false | null | undefined,
    what: string,
    timeoutMs?: number,
  ): Promise<T> {
    return this.api.until<NodeObject, T>(NODE_PATH, (node) => node && wanted(node), what, timeoutMs);
  }

  /** Waits until the node is Ready and takes pods. */
  async nodeReady(): Promise<void> {
    try {
      await this.untilNode(
        (node) => node.status.conditions?.some(({ type, status }) => type === "Ready" && status === "True"),
        "a Ready node",
        30_000,
      );
    } catch (error) {
      throw new Error(`${error instanceof Error ? error.message : error}\n${tail(this.dir, "kubelet")}`);
    }
    // Pods need the account that is made for their namespace.
    await this.api.until("/api/v1/namespaces/default/serviceaccounts/default", (one) => one, "the default account");
  }

  /** Runs kubectl against this cluster; gives what it printed. @throws with its complaint */
  kubectl(args: readonly string[], input?: string): string {
    return kubectl(this.programs.kubectl, this.kubeconfig, args, input);
  }

  /** Runs kubectl against a cluster that another process started. */
  static kubectlOf(dir: string, { versions }: ClusterRecord, args: readonly string[]): string {
    return kubectl(kubectlPath(versions), configPaths(dir).adminKubeconfig, args);
  }

  /** Lets go of a cluster that outlives this process. */
  leave(): void {
    this.api[Symbol.dispose]();
  }

  /** Makes the node's device nodes those of the fake host; after HCAs came or went. */
  mirrorNodes(): void {
    mirrorNodes(this.host, this.space);
  }

  /** Plays while no API server answers; afterwards it does again. */
  async withoutApiServer(play: () => Promise<void>): Promise<void> {
    await this.server.stop();
    try {
      await play();
    } finally {
      await this.server.start();
      await serverIsReady(this.api, this.dir);
    }
  }

  /** Plays while the API server takes requests and answers none; afterwards it does again. */
  async withFrozenApiServer(play: () => Promise<void>): Promise<void> {
    this.server.freeze(true);
    try {
      await play();
    } finally {
      this.server.freeze(false);
    }
  }

  /** Plays with an API server that was started with these gates. */
  async withGates(featureGates: Features["featureGates"], play: () => Promise<void>): Promise<void> {
    const restart = async (gates: Features["featureGates"]) => {
      await this.server.stop();
      await this.server.start(gates);
      await serverIsReady(this.api, this.dir);
    };
    await restart(featureGates);
    try {
      await play();
    } finally {
      await restart({});
    }
  }

  /** The node loses power and starts again. */
  async reboot(kubelet?: KubeletSettings): Promise<void> {
    await this.node.powerOff();
    mirrorNodes(this.host, this.space);
    await this.node.startContainerd();
    await this.node.startKubelet(kubelet);
  }

  async [Symbol.asyncDispose](): Promise<void> {
    this.api[Symbol.dispose]();
    this.host.close();
    await this.space.end();
    await removeRest(this.dir, this.node.cgroup);
  }
}

/** The cluster that another process started in that directory, or null; `isUp` is false when it ended by itself. */
export function findCluster(dir: string): (ClusterRecord & { readonly isUp: boolean }) | null {
  const file = join(dir, "cluster.json");
  if (!existsSync(file)) return null;
  const record = JSON.parse(readFileSync(file, "utf8")) as ClusterRecord;
  return { ...record, isUp: isAlive(record.place.pid) };
}

/** Ends the cluster in that directory and removes all that is left of it. */
export async function removeCluster(dir: string): Promise<void> {
  const found = findCluster(dir);
  if (found?.isUp) await Space.enter(dir, found.place).end();
  await removeRest(dir, found?.cgroup ?? basename(dir));
}

/** Removes what is left of clusters in the temporary directory whose starter was killed. */
async function removeAbandoned(): Promise<void> {
  for (const name of readdirSync(tmpdir()).filter((one) => one.startsWith(PREFIX))) {
    const found = findCluster(join(tmpdir(), name));
    if (found !== null && !found.isUp) await removeCluster(join(tmpdir(), name));
  }
}

function kubectl(program: string, kubeconfig: string, args: readonly string[], input?: string): string {
  const env = { ...process.env, KUBECONFIG: kubeconfig };
  return run(program, args, input === undefined ? { env } : { env, input });
}

function serverUrl({ place }: Space): string {
  return `https://${place.address}`;
}

/** What the kernel does not take away with the namespaces. */
async function removeRest(dir: string, cgroup: string): Promise<void> {
  await killAndRemoveCgroup(cgroup);
  rmSync(dir, { recursive: true, force: true });
}

async function serverIsReady(api: Api, dir: string): Promise<void> {
  await eventually(() => api.isReady(), () => `the API server: ${tail(dir, "apiserver")}`);
}
