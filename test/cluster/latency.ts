/**
 * `deno task cluster:latency [--runs N] [--write]`: how long after a port's change the node object and the status of the
 * pod that has the HCA say so, on a real cluster. `--write` puts the table into docs/performance.md.
 *
 * @module
 */
import { readFileSync, writeFileSync } from "node:fs";
import process from "node:process";
import { fileURLToPath } from "node:url";
import { parseArgs } from "@std/cli";
import { type Deployment, EXCLUSIVE, SHIPPED } from "./deployment.ts";
import { HOST, RESOURCE } from "./host.ts";
import { allocatedHealth, Stage } from "./stage.ts";
import { Cluster } from "../support/cluster/cluster.ts";
import { missingForCluster } from "../support/cluster/requirements.ts";
import { DEFAULT_KUBERNETES, versionsFor } from "../support/cluster/versions.ts";

const DOCUMENT = fileURLToPath(new URL("../../docs/performance.md", import.meta.url));
const MARKS = ["<!-- cluster latency: written by `deno task cluster:latency --write` -->", "<!-- /cluster latency -->"];

interface Case {
  readonly name: string;
  readonly deployment: Deployment;
  readonly kubelet: Readonly<Record<string, unknown>>;
}

const CASES: readonly Case[] = [
  {
    name: "as shipped (scan every 5 s), kubelet as shipped (reports every 10 s)",
    deployment: SHIPPED,
    kubelet: { nodeStatusUpdateFrequency: "10s" },
  },
  { name: "scan every 1 s, kubelet reports every 1 s", deployment: EXCLUSIVE, kubelet: {} },
];

interface Times {
  readonly node: number[];
  readonly pod: number[];
}

/** Milliseconds until both say so, for a number of changes: down, up, down, … */
async function measure(stage: Stage, runs: number): Promise<Times> {
  const pod = await stage.run({ limits: { [RESOURCE]: 1 } });
  const hca = stage.exec(pod, "echo $RDMA_HCAS");
  const times: Times = { node: [], pod: [] };
  for (let run = 0; run < runs; run++) {
    const up = run % 2 === 1;
    // At any moment between two scans and two reports, not always right after both.
    await new Promise((done) => setTimeout(done, Math.random() * 5_000));
    const begun = performance.now();
    const since = () => performance.now() - begun;
    const node = stage.allocatable(RESOURCE, up ? 4 : 3, 40_000).then(since);
    const health = up ? "Healthy" : "Unhealthy";
    const status = stage.untilPod(
      pod,
      (now) => now && allocatedHealth(now, RESOURCE, hca) === health,
      health,
      40_000,
    ).then(since);
    if (up) await stage.cluster.host.portUp(hca, 1);
    else await stage.cluster.host.portDown(hca, 1);
    times.node.push(await node);
    times.pod.push(await status);
  }
  await stage.tidy();
  return times;
}

const seconds = (ms: number) => `${(ms / 1e3).toFixed(1)} s`;
const row = (name: string, times: readonly number[]) => {
  const sorted = times.toSorted((a, b) => a - b);
  return `| ${name} | ${seconds(sorted[Math.floor(sorted.length / 2)]!)} | ${seconds(sorted.at(-1)!)} |`;
};

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
  const rows = ["| from a port's change | p50 | max |", "| --- | --- | --- |"];
  for (const { name, deployment, kubelet } of CASES) {
    await cluster.node.stopKubelet();
    await cluster.node.startKubelet(kubelet);
    await stage.use(deployment);
    await stage.allocatable(RESOURCE, 4, 40_000);
    report(name);
    const { node, pod } = await measure(stage, Number(values.runs));
    rows.push(row(`to node allocatable, ${name}`, node), row(`to the pod's status, ${name}`, pod));
  }
  process.stdout.write(`${rows.join("\n")}\n`);
  if (values.write) {
    const text = readFileSync(DOCUMENT, "utf8");
    const [from, to] = MARKS.map((mark) => text.indexOf(mark));
    writeFileSync(DOCUMENT, `${text.slice(0, from! + MARKS[0]!.length)}\n\n${rows.join("\n")}\n\n${text.slice(to)}`);
  }
  return 0;
}

if (import.meta.main) process.exit(await main());
