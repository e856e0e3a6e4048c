/**
 * What the plugin costs while nothing happens, on a big machine:
 *
 *     deno task bench:idle [--seconds 60] [--hcas 64] [--warm-up 15] [--pod] [-- PLUGIN'S FLAGS]
 *
 * As with the host's network, where link events tell of every port; with --pod as in a pod with a network of its own, where
 * ports are polled.
 *
 * Processor time is what the kernel's scheduler counts for every thread; a wake-up is a voluntary context switch, that
 * is, a thread that slept and was given something to do.
 *
 * @module
 */
import { readdirSync, readFileSync } from "node:fs";
import { parseArgs } from "node:util";
import process from "node:process";
import { setTimeout as delay } from "node:timers/promises";
import { makeLinks } from "./links.ts";
import { inOwnNetns, rig } from "./rig.ts";

/**
 * Per cent of one core, and wake-ups of the main thread a second. Polls may take a tenth of a per cent more, and wake the
 * thread up four times a second and a few times each.
 */
const TARGET = { cpu: 0.2, wakeUps: 1 };
const POD_TARGET = { cpu: 0.3, wakeUps: 16 };

/** What the kernel counts for one thread. */
interface Thread {
  readonly name: string;
  /** Milliseconds on a processor. */
  readonly cpu: number;
  readonly wakeUps: number;
}

/** Threads by their ID; one that ends meanwhile is left out. */
function threadsOf(pid: number): ReadonlyMap<number, Thread> {
  const threads = new Map<number, Thread>();
  for (const id of readdirSync(`/proc/${pid}/task`).map(Number)) {
    try {
      const read = (file: string) => readFileSync(`/proc/${pid}/task/${id}/${file}`, "utf8");
      threads.set(id, {
        name: read("comm").trim(),
        cpu: Number(read("schedstat").split(" ")[0]) / 1e6,
        wakeUps: Number(/^voluntary_ctxt_switches:\s*(\d+)$/m.exec(read("status"))?.[1]),
      });
    } catch {
      continue; // the thread has ended
    }
  }
  return threads;
}

/** Milliseconds on a processor of the whole process, ended threads included; in steps of the clock tick, 10 ms. */
function processTime(pid: number): number {
  // The name, in parentheses, may hold anything; user and system time are the 14th and 15th field.
  const fields = readFileSync(`/proc/${pid}/stat`, "utf8").replace(/^.*\) /s, "").split(" ");
  return (Number(fields[11]) + Number(fields[12])) * 10;
}

async function main(): Promise<void> {
  const { values, positionals } = parseArgs({
    allowPositionals: true,
    options: {
      seconds: { type: "string", default: "60" },
      hcas: { type: "string", default: "64" },
      "warm-up": { type: "string", default: "15" },
      pod: { type: "boolean", default: false },
    },
  });
  const target = values.pod ? POD_TARGET : TARGET;
  if (!values.pod) makeLinks(Number(values.hcas));
  await using plant = await rig(Number(values.hcas), "--http", "127.0.0.1:0", ...positionals);
  const { pid } = plant;
  // The first full scan, the compiler's work on it and the last garbage of the start are not idleness.
  await delay(Number(values["warm-up"]) * 1e3);
  const from = { at: performance.now(), cpu: processTime(pid), threads: threadsOf(pid) };
  await delay(Number(values.seconds) * 1e3);
  const to = { at: performance.now(), cpu: processTime(pid), threads: threadsOf(pid) };
  const seconds = (to.at - from.at) / 1e3;

  const rows = [...to.threads].map(([id, thread]) => {
    const before = from.threads.get(id);
    return {
      id,
      name: id === pid ? `${thread.name} (main)` : thread.name,
      isNew: before === undefined,
      cpu: thread.cpu - (before?.cpu ?? 0),
      wakeUps: (thread.wakeUps - (before?.wakeUps ?? 0)) / seconds,
    };
  }).toSorted((a, b) => b.wakeUps - a.wakeUps);
  const scheduled = rows.reduce((sum, row) => sum + row.cpu, 0) / seconds / 10;
  const ticks = (to.cpu - from.cpu) / seconds / 10;
  const wakeUps = rows.find((row) => row.id === pid)?.wakeUps ?? NaN;
  const verdict = (value: number, target: number) => value <= target ? `≤ ${target}` : `MORE THAN ${target}`;
  process.stdout.write([
    `${values.hcas} HCAs${values.pod ? " without link events" : ""}, nothing happens, ${
      seconds.toFixed(0)
    } s; ${rows.length} threads\n`,
    `${"thread".padEnd(24)}${"wake-ups/s".padStart(12)}${"CPU ms".padStart(12)}\n`,
    ...rows.map(({ name, isNew, wakeUps, cpu }) =>
      `${(isNew ? `${name}, new` : name).padEnd(24)}${wakeUps.toFixed(2).padStart(12)}${cpu.toFixed(2).padStart(12)}\n`
    ),
    `CPU ${scheduled.toFixed(3)} % of a core ${verdict(scheduled, target.cpu)} (by the clock tick: ${
      ticks.toFixed(2)
    } %)\n`,
    `main thread: ${wakeUps.toFixed(2)} wake-ups/s ${verdict(wakeUps, target.wakeUps)}\n`,
  ].join(""));
}

if (import.meta.main) process.exit(await inOwnNetns(import.meta.url, main));
