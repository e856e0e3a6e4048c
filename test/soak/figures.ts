/**
 * What the plugin's process holds, as the kernel and its own metrics count it.
 *
 * @module
 */
import { readdirSync, readlinkSync } from "node:fs";
import { memoryOf, threadCount } from "../support/process_figures.ts";

const MIB = 1024 ** 2;

/** One sample. Bytes and counts. */
export interface Figures {
  readonly rss: number;
  /** The process's own memory; the rest of `rss` is files, which the kernel can drop. */
  readonly anonymous: number;
  /** What V8 uses of its heap, from `process_heap_bytes`; garbage included. */
  readonly heap: number;
  readonly fds: number;
  readonly sockets: number;
  readonly threads: number;
}

/** Reads all of it. The metrics come first, because the connection for them must be gone when descriptors are counted. */
export async function figuresOf(pid: number, http: string, rest: () => Promise<void>): Promise<Figures> {
  const heap = await heapOf(http);
  await rest();
  const memory = memoryOf(pid);
  const { fds, sockets } = descriptors(pid);
  return {
    rss: memory.rss * MIB,
    anonymous: memory.anonymous * MIB,
    heap,
    fds,
    sockets,
    threads: threadCount(pid),
  };
}

/** Open file descriptors, and how many of them are sockets. */
export function descriptors(pid: number): { readonly fds: number; readonly sockets: number } {
  const names = readdirSync(`/proc/${pid}/fd`);
  const sockets = names.filter((name) => {
    try {
      return readlinkSync(`/proc/${pid}/fd/${name}`).startsWith("socket:");
    } catch {
      return false; // closed since the listing
    }
  });
  return { fds: names.length, sockets: sockets.length };
}

async function heapOf(http: string): Promise<number> {
  const response = await fetch(`http://${http}/metrics`, { headers: { connection: "close" } });
  const text = await response.text();
  const [, value] = /^process_heap_bytes (\S+)$/m.exec(text) ?? [];
  if (value === undefined) throw new Error(`The plugin's metrics have no process_heap_bytes:\n${text.slice(0, 2_000)}`);
  return Number(value);
}
