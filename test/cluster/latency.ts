/**
 * `deno task cluster:latency [--runs N] [--write]`: how long after a port's change the kubelet's own count of allocatable
 * devices, the status of the pod that has the HCA, and the node object say so, on a real cluster with the shipped manifest.
 * `--write` puts the table into docs/performance.md.
 *
 * @module
 */
import { Client, credentials } from "@grpc/grpc-js";
import process from "node:process";
import { setTimeout as delay } from "node:timers/promises";
import protobuf from "protobufjs";
import { parseArgs } from "@std/cli";
import type { Space } from "../support/cluster/space.ts";
import { Cluster } from "../support/cluster/cluster.ts";
import { missingForCluster } from "../support/cluster/requirements.ts";
import { DEFAULT_KUBERNETES, versionsFor } from "../support/cluster/versions.ts";
import { writeSection } from "../support/section.ts";
import { type Deployment, SHIPPED } from "./deployment.ts";
import { HCAS, HOST, netdevOf, RESOURCE } from "./host.ts";
import { allocatedHealth, Stage } from "./stage.ts";

/** The kubelet answers a hundred such calls a second (pkg/kubelet/apis/podresources); milliseconds between two. */
const ASK_EVERY_MS = 12;

interface Case {
  readonly name: string;
  readonly deployment: Deployment;
  /** Whether the plugin hears the kernel's link events. */
  readonly hears: boolean;
}

const CASES: readonly Case[] = [
  { name: "the manifest as shipped", deployment: SHIPPED, hears: false },
  { name: "with host-network", deployment: { ...SHIPPED, components: ["host-network"] }, hears: true },
];

const PLACES = ["the kubelet's allocatable devices", "the pod's status", "the node object"] as const;

/** What the kubelet itself would hand out, from its PodResources API. */
class KubeletAllocatable implements Disposable {
  readonly #client: Client;
  readonly #answer: protobuf.Type;

  constructor(space: Space) {
    const socket = space.path("/var/lib/kubelet/pod-resources/kubelet.sock");
    this.#client = new Client(`unix:${socket}`, credentials.createInsecure());
    const { root } = protobuf.parse(`syntax = "proto3";
      message Answer { repeated Devices devices = 1; }
      message Devices { string resource_name = 1; repeated string device_ids = 2; }`);
    this.#answer = root.lookupType("Answer");
  }

  count(): Promise<number> {
    return new Promise((resolve, reject) => {
      this.#client.makeUnaryRequest(
        "/v1.PodResourcesLister/GetAllocatableResources",
        () => Buffer.alloc(0),
        (bytes) => this.#answer.toObject(this.#answer.decode(bytes), { arrays: true }),
        null,
        (error, answer) => {
          if (error !== null) return reject(error);
          const { devices } = answer as { devices: { resourceName: string; deviceIds: string[] }[] };
          resolve(devices.filter((one) => one.resourceName === RESOURCE).flatMap((one) => one.deviceIds).length);
        },
      );
    });
  }

  async until(wanted: number): Promise<void> {
    while (await this.count() !== wanted) await delay(ASK_EVERY_MS);
  }

  [Symbol.dispose](): void {
    this.#client.close();
  }
}

/** Links of the node's network namespace that are called as the host's net devices: the kernel tells of their changes. */
function makeLinks(stage: Stage): void {
  for (const name of HCAS.map(netdevOf)) {
    const far = `${name}p`;
    stage.cluster.space.run(["ip", "link", "add", name, "type", "veth", "peer", "name", far]);
    for (const end of [name, far]) stage.cluster.space.run(["ip", "link", "set", end, "up"]);
  }
}

/** Milliseconds from a change to each of {@link PLACES}, for downs and ups in turn. */
async function measure(stage: Stage, { hears }: Case, runs: number): Promise<{ down: number[][]; up: number[][] }> {
  const { host, space } = stage.cluster;
  using kubelet = new KubeletAllocatable(space);
  const pod = await stage.run({ limits: { [RESOURCE]: 1 } });
  const hca = stage.exec(pod, "echo $RDMA_HCAS");
  const times = { down: [] as number[][], up: [] as number[][] };
  for (let change = 0; change < 2 * runs; change++) {
    const up = change % 2 === 1;
    // At any moment between two scans and two reports, not always right after both.
    await delay(1_000 + Math.random() * 2_000);
    const [devices, health] = up ? [4, "Healthy"] : [3, "Unhealthy"];
    const begun = performance.now();
    const since = () => performance.now() - begun;
    const said = Promise.all([
      kubelet.until(devices).then(since),
      stage.untilPod(pod, (now) => now && allocatedHealth(now, RESOURCE, hca) === health, health, 40_000).then(since),
      stage.allocatable(RESOURCE, devices, 40_000).then(since),
    ]);
    if (up) await host.portUp(hca, 1);
    else await host.portDown(hca, 1);
    if (hears) space.run(["ip", "link", "set", netdevOf(hca), up ? "up" : "down"]);
    (up ? times.up : times.down).push(await said);
  }
  await stage.tidy();
  return times;
}

const shown = (ms: number) => ms < 1_000 ? `${ms.toFixed(0)} ms` : `${(ms / 1e3).toFixed(1)} s`;

/** Median and maximum. */
function cells(times: readonly number[]): string {
  const sorted = times.toSorted((a, b) => a - b);
  return `${shown(sorted[Math.floor(sorted.length / 2)]!)} | ${shown(sorted.at(-1)!)}`;
}

async function main(): Promise<number> {
  const { values } = parseArgs({
    options: { runs: { type: "string", default: "20" }, write: { type: "boolean", default: false } },
  });
  const missing = missingForCluster();
  if (missing.length > 0) {
    process.stderr.write(`Cannot start a cluster: ${missing.join("; ")}\n`);
    return 1;
  }
  const report = (line: string) => void process.stderr.write(`${line}\n`);
  await using cluster = await Cluster.start({ versions: versionsFor(DEFAULT_KUBERNETES), host: HOST, report });
  const stage = new Stage(cluster);
  makeLinks(stage);
  await cluster.node.stopKubelet();
  await cluster.node.startKubelet({ nodeStatusUpdateFrequency: "10s" });
  const rows = ["| from a port's change to | down, p50 | max | up, p50 | max |", "| --- | --: | --: | --: | --: |"];
  for (const one of CASES) {
    await stage.use(one.deployment);
    await stage.allocatable(RESOURCE, 4, 40_000);
    report(one.name);
    const { down, up } = await measure(stage, one, Number(values.runs));
    PLACES.forEach((place, i) => {
      rows.push(`| ${place}, ${one.name} | ${cells(down.map((x) => x[i]!))} | ${cells(up.map((x) => x[i]!))} |`);
    });
  }
  process.stdout.write(`${rows.join("\n")}\n`);
  if (values.write) writeSection("docs/performance.md", "cluster latency", rows.join("\n"));
  return 0;
}

if (import.meta.main) process.exit(await main());
