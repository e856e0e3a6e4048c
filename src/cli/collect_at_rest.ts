/**
 * Gives memory back when there is nothing to do. V8 collects when it wants more memory, so a plugin that has started,
 * or has answered a burst of calls, keeps what that took until the next one: a third of all that it holds.
 *
 * @module
 */
import { setFlagsFromString } from "node:v8";
import { runInNewContext } from "node:vm";
import { hasFfi, loadLibc } from "../hca/ffi.ts";
import { releaseCodePages } from "./code_pages.ts";

/** So long nothing must have happened. */
const REST_MS = 1_000;
/** Fewer calls and scans than this leave nothing behind that is worth a collection, which takes some 20 ms. */
const WORTHWHILE = 200;

/**
 * V8's collector, and glibc's for what was given back to it; the first time, when the start is over, the runtime's code
 * too. Nothing where none of it is to be had.
 */
export function openCollector(): () => void {
  let collect: (() => void) | null = null;
  return () => {
    const isFirst = collect === null;
    collect ??= openGc();
    collect();
    trim();
    if (isFirst) releaseCodePages();
  };
}

function openGc(): () => void {
  try {
    setFlagsFromString("--expose-gc");
    const collect: unknown = runInNewContext("gc");
    return typeof collect === "function" ? () => void collect() : () => {};
  } catch {
    return () => {};
  }
}

/** glibc keeps what is freed below memory that is still used, in the arena of every thread. musl does not. */
function trim(): void {
  if (!hasFfi()) return;
  try {
    const libc = loadLibc({ malloc_trim: { parameters: ["usize" /* size_t pad */], result: "i32" } });
    libc.symbols.malloc_trim(0n);
    libc.close();
  } catch {
    // No FFI permitted, or a libc without this function: nothing to be gained.
  }
}

/** Collects once after the start and after every burst, in the first second in which nothing happens. */
export class CollectAtRest implements Disposable {
  readonly #collect: () => void;
  readonly #restMs: number;
  /** Calls and scans since the last collection; the start counts as a burst. */
  #done = WORTHWHILE;
  #timer: ReturnType<typeof setTimeout> | undefined;

  constructor(collect: () => void, restMs = REST_MS) {
    this.#collect = collect;
    this.#restMs = restMs;
    this.#wait();
  }

  /** A call or a scan was done. No timer is touched here: this is on the way of every answer. */
  worked = (): void => {
    if (++this.#done === WORTHWHILE) this.#wait();
  };

  [Symbol.dispose](): void {
    clearTimeout(this.#timer);
  }

  #wait(): void {
    const before = this.#done;
    this.#timer = setTimeout(() => {
      if (this.#done !== before) return this.#wait();
      this.#done = 0;
      this.#collect();
    }, this.#restMs);
  }
}
