/**
 * What the DRA driver costs beside the device plugin, on the same fake host:
 *
 *     deno task bench:dra [--runs 5] [--hcas 8] [--pods 40]
 *
 * Each run starts the plugin twice as the image starts it, once with each API in turns; pods come and go, one HCA each, and
 * when the process has had nothing to do for some seconds the kernel is asked what it has. Then everything that happens in
 * an hour in which nothing changes happens at once, and the writes to the API server are counted.
 *
 * @module
 */
import { mkdtempSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import process from "node:process";
import { setTimeout as delay } from "node:timers/promises";
import { parseArgs } from "node:util";
import { manyHcas } from "../sim/host/presets.ts";
import { DEFAULT_SPEC } from "../src/pool/spec.ts";
import { offered } from "../test/support/kubelet.ts";
import { bundle } from "../test/support/bundle.ts";
import { DraRig } from "../test/support/dra_rig.ts";
import { type Memory, memoryOf } from "../test/support/process_figures.ts";
import { plugin } from "../test/support/subject.ts";
import { median } from "../test/support/statistics.ts";

/**
 * MiB of its own that the driver may take over what the device plugin has, and writes in an hour without a change. The rest of
 * the resident memory is the runtime's code, here for TLS, which the kernel can drop.
 */
const TARGET = { anonymous: 8, writes: 0 };
const RESOURCE = DEFAULT_SPEC.name;
const QUIET_MS = 4_000;
/** Watches that end, tokens that are replaced and signals for a scan in an hour. */
const HOUR = { watches: 8, tokens: 2, scans: 60 };

interface Run {
  readonly memory: Memory;
  /** Milliseconds of a call. */
  readonly calls: readonly number[];
  readonly writes: number;
}

async function measure(program: string, api: "device-plugin" | "dra", hcas: number, pods: number): Promise<Run> {
  await using rig = await DraRig.start({ host: manyHcas(hcas), agent: false });
  const world = { host: rig.host, kubeletDir: join(rig.dir, "kubelet"), scratch: rig.dir };
  const running = await plugin(program).start(world, ...rig.flags("uid-1"), `--api=${api}`, "--rescan=60");
  const pid = running.pid!;
  try {
    const calls = api === "dra" ? await claims(rig, hcas, pods) : await devices(rig, hcas, pods);
    await delay(QUIET_MS);
    const memory = memoryOf(pid);
    const writes = api === "dra" ? await hour(rig, pid) : 0;
    return { memory, calls, writes };
  } finally {
    await running.stop();
  }
}

async function claims(rig: DraRig, hcas: number, pods: number): Promise<number[]> {
  await rig.ready(hcas);
  const calls: number[] = [];
  for (let i = 0; i < pods; i++) {
    const claim = rig.claim(`claim-${i}`)!;
    const begun = performance.now();
    await rig.run(claim);
    calls.push(performance.now() - begun);
    await rig.remove(`claim-${i}`);
  }
  return calls;
}

async function devices(rig: DraRig, hcas: number, pods: number): Promise<number[]> {
  await offered(rig.kubelet, hcas);
  const calls: number[] = [];
  for (let i = 0; i < pods; i++) {
    const begun = performance.now();
    await rig.kubelet.allocate(RESOURCE, [[`mlx5_${i % hcas}`]]);
    calls.push(performance.now() - begun);
  }
  return calls;
}

/** Everything that an hour has, without a change of the machine; gives the writes that it caused. */
async function hour({ api, dra }: DraRig, pid: number): Promise<number> {
  const before = api.writes().length;
  for (let i = 0; i < HOUR.watches; i++) {
    api.cutWatches();
    if (i % (HOUR.watches / HOUR.tokens) === 0) api.rotateToken();
    await api.waitFor(() => api.watches > 0, "the watch again");
    for (let n = 0; n < HOUR.scans / HOUR.watches; n++) process.kill(pid, "SIGHUP");
  }
  const { reports } = dra;
  await dra.waitFor(() => dra.reports > reports + 1, "health lists", 60_000);
  return api.writes().length - before;
}

async function main(): Promise<number> {
  const { values } = parseArgs({
    options: {
      runs: { type: "string", default: "5" },
      hcas: { type: "string", default: "8" },
      pods: { type: "string", default: "40" },
    },
  });
  const dir = mkdtempSync(join(tmpdir(), "rdma-bench-dra-"));
  const found = { "device-plugin": [] as Run[], dra: [] as Run[] };
  try {
    const program = await bundle(dir);
    for (let i = 0; i < Number(values.runs); i++) {
      for (const api of ["device-plugin", "dra"] as const) {
        found[api].push(await measure(program, api, Number(values.hcas), Number(values.pods)));
      }
    }
  } finally {
    rmSync(dir, { recursive: true, force: true });
  }
  const of = (api: keyof typeof found, figure: (run: Run) => number) => median(found[api].map(figure));
  const rows: readonly (readonly [string, (run: Run) => number])[] = [
    ["resident memory, MiB", (run) => run.memory.rss],
    ["of it anonymous, MiB", (run) => run.memory.anonymous],
    ["Allocate, or prepare with its claim read, p50, ms", (run) => median(run.calls)],
  ];
  const lines = rows.map(([what, figure]) => {
    const [plain, dra] = [of("device-plugin", figure), of("dra", figure)];
    return `| ${what} | ${plain.toFixed(1)} | ${dra.toFixed(1)} | ${(dra - plain).toFixed(1)} |`;
  });
  const writes = Math.max(...found.dra.map((run) => run.writes));
  const text = [
    `| medians of ${values.runs} runs, ${values.hcas} HCAs, ${values.pods} pods | device plugin | DRA | more |`,
    "| --- | --- | --- | --- |",
    ...lines,
    `| API writes in an hour without a change | 0 | ${writes} | ${writes} |`,
  ];
  process.stdout.write(`${text.join("\n")}\n`);
  const more = of("dra", (run) => run.memory.anonymous) - of("device-plugin", (run) => run.memory.anonymous);
  const met = more <= TARGET.anonymous && writes <= TARGET.writes;
  process.stdout.write(
    `targets: ${TARGET.anonymous} MiB more of its own, ${TARGET.writes} writes: ${met ? "met" : "MISSED"}\n`,
  );
  return met ? 0 : 1;
}

if (import.meta.main) process.exit(await main());
