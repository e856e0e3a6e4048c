/**
 * What a scrape costs on a big machine, and what it does to the Allocates that come meanwhile:
 *
 *     deno run -A bench/scrape.ts [HCAS]
 *
 * The plugin, the scraper and the kubelet are processes of their own, as on a node. The scraper asks four times a
 * second, sixty times as often as a usual Prometheus, so that many Allocates meet a scrape.
 *
 * @module
 */
import { type ChildProcessWithoutNullStreams, spawn } from "node:child_process";
import { mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { Agent, get } from "node:http";
import { tmpdir } from "node:os";
import { join } from "node:path";
import process from "node:process";
import { setTimeout as delay } from "node:timers/promises";
import { fileURLToPath } from "node:url";
import { FakeHost, type FakeKubelet, pluginFlags, startPlugin } from "../sim/mod.ts";
import { fakeKubelet, offered, RESOURCE } from "../test/support/kubelet.ts";
import { withCounters } from "../test/support/rig.ts";
import { median, quantile } from "../test/support/statistics.ts";

/** Files of `hw_counters` besides those that the fake host has: about what a ConnectX shows. */
const HW_COUNTERS = 24;
/** Milliseconds between scrapes while there are Allocates. */
const PAUSE_MS = 150;
const SCRAPES = 40;
const ALLOCATES = 4_000;

interface Times {
  readonly p50: number;
  readonly p99: number;
  readonly max: number;
}

function timesOf(all: readonly number[]): Times {
  return { p50: median(all), p99: quantile(all, 0.99), max: Math.max(...all) };
}

/** One scrape on a kept connection: milliseconds and bytes. */
function scrape(url: string, agent: Agent): Promise<{ ms: number; bytes: number }> {
  const start = performance.now();
  return new Promise((resolve, reject) => {
    get(url, { agent }, (response) => {
      let bytes = 0;
      response.on("data", (chunk: Uint8Array) => bytes += chunk.length);
      response.on("end", () => resolve({ ms: performance.now() - start, bytes }));
    }).on("error", reject);
  });
}

/** The scraper's process: prints the milliseconds of each scrape as JSON when its standard input ends. */
async function scraper(url: string): Promise<void> {
  const agent = new Agent({ keepAlive: true });
  const all: number[] = [];
  let ended = false;
  process.stdin.resume().on("end", () => ended = true);
  while (!ended) {
    all.push((await scrape(url, agent)).ms);
    await delay(PAUSE_MS);
  }
  agent.destroy();
  process.stdout.write(JSON.stringify(all));
}

async function output(child: ChildProcessWithoutNullStreams): Promise<string> {
  let text = "";
  child.stdout.on("data", (bytes) => text += bytes);
  child.stdin.end();
  await new Promise((resolve) => child.on("close", resolve));
  return text;
}

async function allocates(kubelet: FakeKubelet, hcas: number): Promise<Times> {
  const all: number[] = [];
  for (let n = 0; n < ALLOCATES; n++) {
    const begin = performance.now();
    await kubelet.allocate(RESOURCE, [[`mlx5_${n % hcas}`]]);
    all.push(performance.now() - begin);
  }
  return timesOf(all);
}

async function main(hcas: number): Promise<void> {
  const dir = mkdtempSync(join(tmpdir(), "bench-scrape-"));
  const host = FakeHost.create(join(dir, "host"), withCounters(hcas));
  for (const name of host.hcaNames()) {
    const below = join(host.hcaPath(name), "ports/1");
    for (let n = 0; n < HW_COUNTERS; n++) writeFileSync(join(below, `hw_counters/some_counter_${n}`), `${n * 1e6}\n`);
    for (const way of ["xmit", "rcv"]) {
      for (const kind of ["unicast", "multicast"]) {
        writeFileSync(join(below, `counters/${kind}_${way}_packets`), "123456789\n");
      }
    }
  }
  const kubelet = await fakeKubelet(join(dir, "kubelet"));
  const plugin = startPlugin([
    ...pluginFlags(host, join(dir, "kubelet")),
    `--cdi-dir=${join(dir, "cdi")}`,
    "--registration=socket",
    "--http=127.0.0.1:0",
  ]);
  try {
    const [, base] = /(http:\/\/127\.0\.0\.1:\d+)\//.exec(await plugin.logged(/http:\/\/127/))!;
    const url = `${base}/metrics`;
    await offered(kubelet, hcas);
    const agent = new Agent({ keepAlive: true });
    for (let n = 0; n < 10; n++) await scrape(url, agent);
    await allocates(kubelet, hcas);

    const scrapes = [];
    for (let n = 0; n < SCRAPES; n++) scrapes.push(await scrape(url, agent));
    agent.destroy();
    const quiet = await allocates(kubelet, hcas);
    const script = fileURLToPath(import.meta.url);
    const child = spawn(process.execPath, ["run", "-A", "--no-check", script, "--scrape", url]);
    const busy = await allocates(kubelet, hcas);
    const meanwhile: number[] = JSON.parse(await output(child));

    const row = (what: string, { p50, p99, max }: Times) =>
      `${what.padEnd(44)} ${p50.toFixed(2).padStart(8)} ${p99.toFixed(2).padStart(8)} ${max.toFixed(2).padStart(8)}\n`;
    const kib = Math.round((scrapes.at(-1)?.bytes ?? 0) / 1024);
    process.stdout.write([
      `${hcas} HCAs, ${kib} KiB a scrape; milliseconds\n`,
      `${"".padEnd(44)} ${"p50".padStart(8)} ${"p99".padStart(8)} ${"max".padStart(8)}\n`,
      row(`scrape, alone (${SCRAPES})`, timesOf(scrapes.map(({ ms }) => ms))),
      row(`scrape, among Allocates (${meanwhile.length})`, timesOf(meanwhile)),
      row(`Allocate, alone (${ALLOCATES})`, quiet),
      row(`Allocate, among scrapes (${ALLOCATES})`, busy),
      `ratio of Allocate: p50 ${(busy.p50 / quiet.p50).toFixed(1)}, p99 ${(busy.p99 / quiet.p99).toFixed(1)}\n`,
    ].join(""));
  } finally {
    await plugin.stop();
    await kubelet.close();
    rmSync(dir, { recursive: true, force: true });
  }
}

if (import.meta.main) {
  const [first, second] = process.argv.slice(2);
  if (first === "--scrape") await scraper(second!);
  else await main(Number(first ?? 128));
  process.exit(0);
}
