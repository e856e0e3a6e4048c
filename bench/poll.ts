/**
 * Health without link events, as in a pod with a network of its own: what a poll of the ports costs, how often it is made
 * for that, and how long it takes from a port that goes down to the kubelet's count.
 *
 *     deno task bench:poll [--hcas 2,16,128] [--changes 20]
 *
 * @module
 */
import { mkdtempSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import process, { cpuUsage } from "node:process";
import { setTimeout as delay } from "node:timers/promises";
import { parseArgs } from "node:util";
import { pollInterval } from "../src/agent/poll_interval.ts";
import { FakeHost, manyHcas } from "../sim/mod.ts";
import { offered } from "../test/support/kubelet.ts";
import { inOwnNetns, rig } from "./rig.ts";
import { median } from "../test/support/statistics.ts";
import { discoveryOn } from "../test/support/discovery.ts";

/** Polls that are measured, after as many that warm up. */
const POLLS = 200;

/** Median cost of a poll of a machine that stays as it is. */
async function costOf(hcas: number) {
  const dir = mkdtempSync(join(tmpdir(), "rdma-bench-"));
  try {
    const host = FakeHost.create(join(dir, "host"), manyHcas(hcas));
    const discovery = discoveryOn(host);
    await discovery.scan("full");
    const [cpu, elapsed]: [number[], number[]] = [[], []];
    for (let n = -POLLS; n < POLLS; n++) {
      const [before, start] = [cpuUsage(), performance.now()];
      if (await discovery.poll() !== null) throw new Error("the machine changed");
      const { user, system } = cpuUsage(before);
      if (n < 0) continue;
      elapsed.push(performance.now() - start);
      cpu.push((user + system) / 1e3);
    }
    const average = (all: number[]) => all.reduce((sum, one) => sum + one, 0) / all.length;
    return { cpuMs: average(cpu), elapsedMs: average(elapsed) };
  } finally {
    rmSync(dir, { recursive: true });
  }
}

/** Milliseconds from a port that goes down, at any moment, to the kubelet's count; ascending. */
async function latencies(hcas: number, changes: number): Promise<number[]> {
  await using plant = await rig(hcas);
  const { host, kubelet } = plant;
  const name = host.describe()[0]!.name;
  const found: number[] = [];
  for (let n = 0; n < changes; n++) {
    await delay(500 + Math.random() * 1_000);
    const start = performance.now();
    await host.carrierLost(name, 1);
    await offered(kubelet, hcas - 1);
    found.push(performance.now() - start);
    await host.portUp(name, 1);
    await offered(kubelet, hcas);
  }
  return found.sort((a, b) => a - b);
}

async function main(): Promise<void> {
  const { values } = parseArgs({
    options: { hcas: { type: "string", default: "2,16,128" }, changes: { type: "string", default: "20" } },
  });
  process.stdout.write(
    `${
      ["HCAs", "poll CPU us", "elapsed us", "every ms", "of a core", "down p50 ms", "max ms"].map((one) =>
        one.padStart(12)
      ).join("")
    }\n`,
  );
  for (const hcas of values.hcas.split(",").map(Number)) {
    const cost = await costOf(hcas);
    const every = pollInterval({ cost, hcas, eventsLive: false, rescanMs: 30_000 }) ?? NaN;
    const down = await latencies(hcas, Number(values.changes));
    const row = [
      hcas,
      Math.round(cost.cpuMs * 1e3),
      Math.round(cost.elapsedMs * 1e3),
      every,
      `${(100 * cost.cpuMs / every).toFixed(3)} %`,
      Math.round(median(down)),
      Math.round(down.at(-1)!),
    ];
    process.stdout.write(`${row.map((one) => String(one).padStart(12)).join("")}\n`);
  }
}

if (import.meta.main) process.exit(await inOwnNetns(import.meta.url, main));
