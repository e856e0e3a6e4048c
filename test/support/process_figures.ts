/**
 * What a process takes of the machine, as the kernel counts it.
 *
 * @module
 */
import { readdirSync, readFileSync, readlinkSync } from "node:fs";

/** MiB. `anonymous` is the process's own; the rest of `rss` is files, which the kernel shares and can drop. */
export interface Memory {
  readonly rss: number;
  readonly anonymous: number;
}

/** From `/proc/PID/smaps_rollup`. */
export function memoryOf(pid: number): Memory {
  const text = readFileSync(`/proc/${pid}/smaps_rollup`, "utf8");
  const mebibytes = (name: string) => Number(new RegExp(`^${name}:\\s*(\\d+) kB$`, "m").exec(text)?.[1]) / 1024;
  return { rss: mebibytes("Rss"), anonymous: mebibytes("Anonymous") };
}

/** How many threads the process has. */
export function threadCount(pid: number): number {
  return readdirSync(`/proc/${pid}/task`).length;
}

/** Milliseconds on a processor by thread, by the scheduler's own count. */
export type CpuTimes = ReadonlyMap<string, number>;

/** From `/proc/PID/task/TID/schedstat`. */
export function cpuTimes(pid: number): CpuTimes {
  const times = new Map<string, number>();
  for (const id of readdirSync(`/proc/${pid}/task`)) {
    try {
      times.set(id, Number(readFileSync(`/proc/${pid}/task/${id}/schedstat`, "utf8").split(" ")[0]) / 1e6);
    } catch {
      continue; // the thread has ended
    }
  }
  return times;
}

/** Milliseconds that the threads which are there now have had since then; what ended in between is not counted. */
export function cpuSince(pid: number, before: CpuTimes): number {
  return [...cpuTimes(pid)].reduce((sum, [id, time]) => sum + time - (before.get(id) ?? 0), 0);
}

/** What a process has open, by kind: "socket", "pipe", "anon_inode:…", or the file's path; `/proc/PID/fd`. */
export function openFiles(pid: number): readonly string[] {
  const directory = `/proc/${pid}/fd`;
  return readdirSync(directory).flatMap((fd) => {
    try {
      // The runtime's caches are removed by a runtime that could not open them; whoever has them open keeps them.
      return [readlinkSync(`${directory}/${fd}`).replace(/^(socket|pipe):.*/, "$1").replace(/ \(deleted\)$/, "")];
    } catch {
      return []; // closed in the meantime
    }
  }).sort();
}
