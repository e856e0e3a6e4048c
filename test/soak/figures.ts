/**
 * What the plugin's process holds, as the kernel and its own metrics count it.
 *
 * @module
 */
import { memoryOf, openFiles, threadCount } from "../support/process_figures.ts";

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
  const files = openFiles(pid);
  return {
    rss: memory.rss * MIB,
    anonymous: memory.anonymous * MIB,
    heap,
    fds: files.length,
    sockets: files.filter((file) => file === "socket").length,
    threads: threadCount(pid),
  };
}

async function heapOf(http: string): Promise<number> {
  const response = await fetch(`http://${http}/metrics`, { headers: { connection: "close" } });
  const text = await response.text();
  const [, value] = /^process_heap_bytes (\S+)$/m.exec(text) ?? [];
  if (value === undefined) throw new Error(`The plugin's metrics have no process_heap_bytes:\n${text.slice(0, 2_000)}`);
  return Number(value);
}
