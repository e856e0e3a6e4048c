/**
 * Everything of a plugin that a kubelet sees, and what the process takes for it: start, Allocate, a kubelet's restart,
 * memory, threads, processor. The same for our plugin and for any other.
 *
 * Each subject has a kubelet and a host of its own; calls take turns, so that what the machine does meanwhile falls on
 * all of them alike.
 *
 * @module
 */
import { mkdirSync, mkdtempSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { setTimeout as delay } from "node:timers/promises";
import { FakeHost, preset } from "../sim/mod.ts";
import { ALLOCATES, CROWD } from "./catalogue.ts";
import type { Figures } from "./figure.ts";
import type { Client, Kubelet } from "./kubelet.ts";
import { cpuSince, cpuTimes, memoryOf, threadCount } from "../test/support/process_figures.ts";
import type { Running, Subject } from "../test/support/subject.ts";
import { median } from "../test/support/statistics.ts";

/** How much is done. */
export interface Effort {
  /** Starts, of which the last one stays: the first reads files that nobody has in memory yet. */
  readonly starts: number;
  /** Allocates before anything is timed: a plugin that has run for a day is no longer being compiled. */
  readonly warmUp: number;
  /** Turns that the subjects take at Allocate, and calls of one client in each. */
  readonly turns: number;
  readonly calls: number;
  /** Restarts of the kubelet. */
  readonly restarts: number;
  /** Seconds of rest in which the processor's time is counted. */
  readonly restSeconds: number;
}

/** The subject between its own host and kubelet. */
interface Stand extends AsyncDisposable {
  readonly subject: Subject;
  readonly running: Running;
  readonly kubelet: Kubelet;
  readonly resource: string;
  /** The device that is asked for. */
  readonly ids: readonly string[];
}

/** One run over all subjects. */
export async function serving(
  subjects: readonly Subject[],
  client: Client,
  effort: Effort,
  figures: Figures,
): Promise<void> {
  await using stands = new AsyncDisposableStack();
  const all: Stand[] = [];
  for (const subject of subjects) all.push(stands.use(await start(subject, client, effort, figures)));
  for (const stand of all) await rest(stand, effort, figures);
  await allocates(all, effort, figures);
  for (const stand of all) memory(stand, "allocates", figures);
  // What a plugin gives back when the calls have ended.
  await delay(Math.min(3, effort.restSeconds) * 1e3);
  for (const stand of all) memory(stand, "rest", figures);
  for (const stand of all.filter(({ subject }) => subject.returns)) await restarts(stand, effort, figures);
}

async function start(subject: Subject, client: Client, { starts }: Effort, figures: Figures): Promise<Stand> {
  await using cleanup = new AsyncDisposableStack();
  const dir = mkdtempSync(join(tmpdir(), "rdma-bench-"));
  cleanup.defer(() => rmSync(dir, { recursive: true, force: true }));
  const kubeletDir = join(dir, "device-plugins");
  mkdirSync(kubeletDir);
  const host = FakeHost.create(FakeHost.temporaryRoot(), preset("connectx-roce-vfs"));
  cleanup.defer(() => host.close());
  const kubelet = cleanup.use(await client.start(kubeletDir));
  const started = async () => {
    const before = kubelet.registrations;
    const begin = performance.now();
    const running = await subject.start({ host, kubeletDir, scratch: dir });
    const resource = await kubelet.registered(subject.resource, before);
    return { running, resource, took: performance.now() - begin };
  };
  const took: number[] = [];
  for (let i = subject.startable ? 1 : starts; i < starts; i++) {
    const one = await started();
    took.push(one.took);
    await one.running.stop();
  }
  const { running, resource, took: last } = await started();
  cleanup.defer(() => running.stop());
  if (subject.startable) figures.add(subject.name, "start", median([...took, last]));
  const list = await kubelet.list((one) => one.resource === resource, `a list of ${resource}`);
  const ids = [list.devices[0]!.id];
  const rest = cleanup.move();
  return { subject, running, kubelet, resource, ids, [Symbol.asyncDispose]: () => rest.disposeAsync() };
}

/** An idle process: its memory, its threads and what it takes of a processor while nothing happens. */
async function rest(stand: Stand, { restSeconds }: Effort, figures: Figures): Promise<void> {
  const { subject, running: { pid } } = stand;
  if (pid === null) return;
  // What is left of the start (garbage, the compiler's threads) is no rest yet.
  await delay(Math.min(2, restSeconds) * 1e3);
  figures.add(subject.name, "threads", threadCount(pid));
  const before = cpuTimes(pid);
  const begin = performance.now();
  await delay(restSeconds * 1e3);
  const part = cpuSince(pid, before) / (performance.now() - begin);
  figures.add(subject.name, "cpu.idle", part * 100);
  memory(stand, "idle", figures);
}

function memory({ subject, running: { pid } }: Stand, when: string, figures: Figures): void {
  if (pid === null) return;
  const { rss, anonymous } = memoryOf(pid);
  figures.add(subject.name, `memory.${when}.rss`, rss);
  figures.add(subject.name, `memory.${when}.anonymous`, anonymous);
}

async function allocates(stands: readonly Stand[], effort: Effort, figures: Figures): Promise<void> {
  const { warmUp, turns, calls } = effort;
  const inCrowd = Math.floor((ALLOCATES - warmUp - turns * calls) / CROWD);
  for (const { kubelet, resource, ids } of stands) await kubelet.bench(resource, ids, warmUp, 1);
  const taken = new Map(stands.map((stand) => [stand, { p50: [] as number[], p99: [] as number[], max: 0, rate: 0 }]));
  for (let turn = 0; turn < turns; turn++) {
    for (const [{ kubelet, resource, ids }, sum] of taken) {
      const result = await kubelet.bench(resource, ids, calls, 1);
      sum.p50.push(result.p50us);
      sum.p99.push(result.p99us);
      sum.max = Math.max(sum.max, result.maxus);
      sum.rate += result.perSecond / turns;
    }
  }
  for (const [{ subject, kubelet, resource, ids }, sum] of taken) {
    add(figures, subject, 1, { p50: median(sum.p50), p99: median(sum.p99), max: sum.max, rate: sum.rate });
    const crowd = await kubelet.bench(resource, ids, inCrowd, CROWD);
    const { p50us, p99us, maxus, perSecond } = crowd;
    add(figures, subject, CROWD, { p50: p50us, p99: p99us, max: maxus, rate: perSecond });
  }
}

function add(
  figures: Figures,
  { name }: Subject,
  clients: number,
  { p50, p99, max, rate }: { p50: number; p99: number; max: number; rate: number },
): void {
  for (const [part, value] of Object.entries({ p50, p99, max, rate })) {
    figures.add(name, `allocate.${clients}.${part}`, value);
  }
}

/** From the moment a new kubelet listens to the plugin's registration with it. */
async function restarts({ subject, kubelet, resource }: Stand, effort: Effort, figures: Figures): Promise<void> {
  const took: number[] = [];
  for (let i = 0; i < effort.restarts; i++) {
    const before = kubelet.registrations;
    await kubelet.restart();
    const begin = performance.now();
    await kubelet.registered(resource, before);
    took.push(performance.now() - begin);
  }
  figures.add(subject.name, "restart", median(took));
}
