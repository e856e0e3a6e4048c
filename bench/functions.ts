/**
 * The most virtual functions that a node may have: whether a limit is hit (of a message, of open files, of time), and
 * what they cost. Ours alone: the real process, as many functions as 32 adapters have, and a kubelet with gRPC's own
 * limits.
 *
 * @module
 */
import { mkdirSync, mkdtempSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { FakeHost, type HostDescription, manyHcas } from "../sim/mod.ts";
import { memoryOf, openFiles } from "../test/support/process_figures.ts";
import type { Subject } from "../test/support/subject.ts";
import { FUNCTIONS, PER_ADAPTER } from "./catalogue.ts";
import { type Figures, PLUGIN } from "./figure.ts";
import type { Client, List } from "./kubelet.ts";

/** Adapters with a bus of their own, which has room for their functions. */
export function manyFunctions(adapters: number, each: number): HostDescription {
  const hcas = manyHcas(adapters).hcas.map((hca, n) => {
    const bus = (0x10 + n).toString(16);
    const bridges = ["pci0000:00", `0000:00:${n.toString(16).padStart(2, "0")}.0`];
    return { ...hca, pci: `0000:${bus}:00.0`, bridges, totalVfs: each, vfs: each };
  });
  return { hcas };
}

/** One start with all of them, one Allocate of eight, and one port that goes down. */
export async function functions(subject: Subject, client: Client, figures: Figures): Promise<void> {
  await using cleanup = new AsyncDisposableStack();
  const dir = mkdtempSync(join(tmpdir(), "rdma-bench-"));
  cleanup.defer(() => rmSync(dir, { recursive: true, force: true }));
  const host = FakeHost.create(FakeHost.temporaryRoot(), manyFunctions(FUNCTIONS / PER_ADAPTER, PER_ADAPTER));
  cleanup.defer(() => host.close());
  const kubeletDir = join(dir, "device-plugins");
  mkdirSync(kubeletDir);
  const kubelet = await client.start(kubeletDir);
  const begin = performance.now();
  const running = await subject.start({ host, kubeletDir, scratch: dir });
  cleanup.defer(() => running.stop());
  cleanup.use(kubelet);
  const files = mostOpen(running.pid!);
  const all = FUNCTIONS + FUNCTIONS / PER_ADAPTER;
  const are = (healthy: number) => ({ devices }: List) =>
    devices.filter((one) => one.health === "Healthy").length === healthy;
  const list = await kubelet.list(are(all), `${all} devices`);
  figures.add(PLUGIN, "functions.start", performance.now() - begin);
  figures.add(PLUGIN, "functions.devices", list.devices.length);

  const eight = list.devices.slice(0, 8).map(({ id }) => id);
  figures.add(PLUGIN, "functions.allocate", (await kubelet.bench(list.resource, eight, 20, 1)).p50us);
  const before = kubelet.lists;
  const down = performance.now();
  await host.portDown("mlx5_0", 1);
  await kubelet.list(are(all - 1), "the list without mlx5_0", before);
  figures.add(PLUGIN, "functions.change", performance.now() - down);
  figures.add(PLUGIN, "functions.files", files.most());
  figures.add(PLUGIN, "functions.anonymous", memoryOf(running.pid!).anonymous);
}

/** The most files that the process was seen to have open at a time. */
function mostOpen(pid: number): { readonly most: () => number } {
  let most = 0;
  const timer = setInterval(() => most = Math.max(most, openFiles(pid).length), 5);
  return {
    most: () => {
      clearInterval(timer);
      return most;
    },
  };
}
