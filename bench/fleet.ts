/**
 * `fleet` on a large cluster:
 *
 *     deno task bench:fleet [--nodes 5000] [--hcas 8] [--others 1] [--runs 5] [--dir DIR] [-- FLAGS OF fleet]
 *
 * Starts a real etcd and API server, fills them (5,000 nodes with 40,000 HCAs, 15,000 pods, slices, claims, events), and
 * runs `fleet` as a user who has the rights of deploy/fleet/cluster-role.yaml and no others. Prints time, peak memory,
 * requests and bytes as the API server counts them, and processor time, which is what a busy machine does not change; ends with status 1 when a target is missed.
 *
 * @module
 */
import { spawn } from "node:child_process";
import { once } from "node:events";
import { mkdtempSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import process from "node:process";
import { setTimeout as delay } from "node:timers/promises";
import { parseArgs } from "node:util";
import { parse, stringify } from "yaml";
import { ROOT } from "../test/support/root.ts";
import type { ApiAccess } from "../src/kubernetes/access.ts";
import { ApiClient } from "../src/kubernetes/client.ts";
import { ApiAlone } from "../test/support/cluster/api_alone.ts";
import { ensureApiPrograms } from "../test/support/cluster/programs.ts";
import { DEFAULT_KUBERNETES, versionsFor } from "../test/support/cluster/versions.ts";
import { fill } from "./fleet_fill.ts";
import { median } from "../test/support/statistics.ts";

const USER = { name: "operator", token: "alone-operator" };
/** Seconds, and MB of peak resident memory. */
const TARGET = { seconds: 10, megabytes: 200 };
const COLLECTIONS = ["nodes", "pods", "resourceslices", "resourceclaims", "events"];

interface Run {
  readonly seconds: number;
  readonly megabytes: number;
  readonly requests: number;
  readonly bytes: number;
  /** Processor time of `fleet`, and of the API server with its etcd, in seconds. */
  readonly processor: number;
  readonly serverProcessor: number;
  readonly status: number;
}

async function main(): Promise<number> {
  const { values, positionals } = parseArgs({
    allowPositionals: true,
    options: {
      nodes: { type: "string", default: "5000" },
      hcas: { type: "string", default: "8" },
      others: { type: "string", default: "1" },
      runs: { type: "string", default: "5" },
    },
  });
  const say = (line: string) => void process.stderr.write(`${line}\n`);
  const programs = await ensureApiPrograms(versionsFor(DEFAULT_KUBERNETES), say);
  const dir = mkdtempSync(join(tmpdir(), "rdma-fleet-"));
  try {
    await using api = await ApiAlone.start(programs, dir, USER);
    const access = { server: api.url, caFile: api.caFile, tokenFile: ApiAlone.tokenFile(dir) };
    await grant(access);
    const sizes = { nodes: Number(values.nodes), hcas: Number(values.hcas), others: Number(values.others) };
    const begun = performance.now();
    const counts = await fill(access, sizes, say);
    say(`filled in ${((performance.now() - begun) / 1e3).toFixed(0)} s`);
    process.stdout.write(`${Object.entries(counts).map(([what, n]) => `${n} ${what}`).join(", ")}\n`);
    const kubeconfig = writeKubeconfig(dir, api);
    const runs: Run[] = [];
    // The first fills the caches of compiled sources.
    for (let i = 0; i <= Number(values.runs); i++) {
      const run = await measure(api, kubeconfig, positionals);
      if (i > 0) runs.push(run);
    }
    return report(runs);
  } finally {
    rmSync(dir, { recursive: true, force: true });
  }
}

/** The role as it is shipped, for the user who runs `fleet`. */
async function grant(access: ApiAccess): Promise<void> {
  const client = new ApiClient(access);
  const role = parse(readFileSync(join(ROOT, "deploy/fleet/cluster-role.yaml"), "utf8")) as {
    metadata: { name: string };
  };
  const binding = {
    apiVersion: "rbac.authorization.k8s.io/v1",
    kind: "ClusterRoleBinding",
    metadata: { name: "fleet" },
    roleRef: { apiGroup: "rbac.authorization.k8s.io", kind: "ClusterRole", name: role.metadata.name },
    subjects: [{ apiGroup: "rbac.authorization.k8s.io", kind: "User", name: USER.name }],
  };
  const api = "/apis/rbac.authorization.k8s.io/v1";
  for (const [path, body] of [[`${api}/clusterroles`, role], [`${api}/clusterrolebindings`, binding]] as const) {
    const made = await client.call("POST", path, { body });
    if (!made.ok) throw new Error(made.error.message);
  }
  client.close();
}

function writeKubeconfig(dir: string, api: ApiAlone): string {
  const path = join(dir, "kubeconfig");
  writeFileSync(
    path,
    stringify({
      clusters: [{ name: "c", cluster: { server: api.url, "certificate-authority": api.caFile } }],
      users: [{ name: "u", user: { token: USER.token } }],
      contexts: [{ name: "x", context: { cluster: "c", user: "u" } }],
      "current-context": "x",
    }),
  );
  return path;
}

async function measure(server: ApiAlone, kubeconfig: string, flags: readonly string[]): Promise<Run> {
  const before = await served(server);
  const serverBefore = processorOf(server.pids);
  const begun = performance.now();
  const command = ["run", "-A", "--no-check", "--frozen", "mod.ts", "fleet", "--kubeconfig", kubeconfig, ...flags];
  const child = spawn(process.execPath, command, { cwd: ROOT, stdio: ["ignore", "ignore", "inherit"] });
  const ended = once(child, "exit") as Promise<[number]>;
  let [peak, processor] = [0, 0];
  let over = false;
  const watching = (async () => {
    while (!over) {
      peak = Math.max(peak, peakOf(child.pid!));
      processor = Math.max(processor, processorOf([child.pid!]));
      await delay(10);
    }
  })();
  const [status] = await ended;
  const seconds = (performance.now() - begun) / 1e3;
  over = true;
  await watching;
  const serverProcessor = processorOf(server.pids) - serverBefore;
  const after = await served(server);
  const [requests, bytes] = [after.requests - before.requests, after.bytes - before.bytes];
  return { seconds, megabytes: peak, requests, bytes, processor, serverProcessor, status };
}

/** Seconds on a processor so far, in steps of the clock tick; 0 for a process that has ended. */
function processorOf(pids: readonly number[]): number {
  return pids.reduce((sum, pid) => {
    try {
      // The name, in parentheses, may hold anything; user and system time are the 14th and 15th field.
      const fields = readFileSync(`/proc/${pid}/stat`, "utf8").replace(/^.*\) /s, "").split(" ");
      return sum + (Number(fields[11]) + Number(fields[12])) / 100;
    } catch {
      return sum;
    }
  }, 0);
}

/** The most that the process has had in memory so far, in MB; 0 when it has ended. */
function peakOf(pid: number): number {
  try {
    return Number(/^VmHWM:\s*(\d+) kB$/m.exec(readFileSync(`/proc/${pid}/status`, "utf8"))?.[1] ?? 0) * 1_024 / 1e6;
  } catch {
    return 0;
  }
}

/** Lists that the API server has answered, and their bytes, by its own count. */
async function served({ api }: ApiAlone): Promise<{ requests: number; bytes: number }> {
  const text = await api.text("/metrics");
  const sum = (metric: string) =>
    text.split("\n").filter((line) =>
      line.startsWith(`${metric}{`) && line.includes('verb="LIST"') &&
      COLLECTIONS.some((one) => line.includes(`resource="${one}"`))
    ).reduce((all, line) => all + Number(line.split(" ").at(-1)), 0);
  return { requests: sum("apiserver_request_total"), bytes: sum("apiserver_response_sizes_sum") };
}

function report(runs: readonly Run[]): number {
  const middle = (of: (run: Run) => number) => median(runs.map(of));
  const worst = (of: (run: Run) => number) => Math.max(...runs.map(of));
  const line = (what: string, of: (run: Run) => number, digits: number) =>
    `${what}: ${middle(of).toFixed(digits)} (worst of ${runs.length}: ${worst(of).toFixed(digits)})\n`;
  process.stdout.write(line("seconds", (one) => one.seconds, 1));
  process.stdout.write(line("peak memory, MB", (one) => one.megabytes, 0));
  process.stdout.write(line("requests", (one) => one.requests, 0));
  process.stdout.write(line("MB of answers, compressed", (one) => one.bytes / 1e6, 1));
  process.stdout.write(line("processor seconds of fleet", (one) => one.processor, 1));
  process.stdout.write(line("processor seconds of API server and etcd", (one) => one.serverProcessor, 1));
  // Something is down in this fleet.
  const wrong = runs.some((one) => one.status !== 1);
  if (wrong) process.stdout.write(`fleet ended with status ${runs.map((one) => one.status).join(", ")} instead of 1\n`);
  const missed = middle((one) => one.seconds) > TARGET.seconds || worst((one) => one.megabytes) > TARGET.megabytes;
  process.stdout.write(`target: ${TARGET.seconds} s and ${TARGET.megabytes} MB, ${missed ? "missed" : "met"}\n`);
  return missed || wrong ? 1 : 0;
}

if (import.meta.main) process.exit(await main());
