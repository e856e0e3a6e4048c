/**
 * Asks libibverbs, through FFI, which HCAs user space can use. Only the device list is requested and no device is
 * opened, so no capability is needed and the hardware is not pinned: an open verbs context blocks the removal of HCAs
 * whose driver cannot disassociate.
 *
 * @module
 */
import { startDeadline } from "./deadline.ts";
import { hasFfi, loadLibc } from "./ffi.ts";
import type { VerbsAnswer, VerbsDevice } from "./types.ts";

/** Soname in rdma-core since 2017; ABI "IBVERBS_1.1". */
const SONAME = "libibverbs.so.1";

/** ENOSYS of asm-generic/errno.h: set by `ibv_get_device_list` when the kernel has no uverbs. */
const ENOSYS = 38;

/**
 * `struct ibv_device` of infiniband/verbs.h on 64-bit machines: two function pointers of `struct _ibv_device_ops`,
 * two enums, then four arrays. A test compiles the header and compares.
 */
export const IBV_DEVICE = {
  node_type: { offset: 16, size: 4 },
  transport_type: { offset: 20, size: 4 },
  name: { offset: 24, size: 64 },
  dev_name: { offset: 88, size: 64 },
  dev_path: { offset: 152, size: 256 },
  ibdev_path: { offset: 408, size: 256 },
} as const;

const SYMBOLS = {
  ibv_get_device_list: {
    parameters: ["buffer" /* int *num_devices */],
    result: "pointer", // struct ibv_device **
    nonblocking: true, // reads sysfs, talks netlink and loads provider libraries
  },
  ask_again: {
    name: "ibv_get_device_list",
    parameters: ["buffer" /* int *num_devices */],
    result: "pointer", // struct ibv_device **
  },
  ibv_free_device_list: { parameters: ["pointer" /* struct ibv_device **list */], result: "void" },
  ibv_get_device_guid: { parameters: ["pointer" /* struct ibv_device *device */], result: "u64" /* __be64 */ },
} as const;

const LIBC_SYMBOLS = { __errno_location: { parameters: [], result: "pointer" /* int * */ } } as const;

/** Asks libibverbs on every call of {@link Verbs.list}. Dispose it to unload the library. */
export interface Verbs extends Disposable {
  /** Returns the devices that libibverbs lists, or the reason why there is no list. Never rejects. */
  list(): Promise<VerbsAnswer>;
}

/** A substitute that always returns the given answer. */
export function noVerbs(answer: VerbsAnswer): Verbs {
  return { list: () => Promise.resolve(answer), [Symbol.dispose]: () => {} };
}

/**
 * libibverbs, which is loaded by the first question: where its answer would say nothing it is never asked. A missing
 * library or a runtime without FFI is an answer, not an error.
 *
 * @param library file or soname; tests pass a library of their own
 * @param deadlineMs how long one call may take, in milliseconds
 */
export function openVerbs(library = SONAME, deadlineMs = 5_000): Verbs {
  let verbs: Verbs | null = null;
  return {
    list: () => (verbs ??= load(library, deadlineMs)).list(),
    [Symbol.dispose]: () => {
      verbs ??= noVerbs(CLOSED);
      verbs[Symbol.dispose]();
    },
  };
}

const CLOSED: VerbsAnswer = { kind: "not-asked", detail: "the library has been closed" };

function load(library: string, deadlineMs: number): Verbs {
  if (!hasFfi()) {
    return noVerbs({ kind: "not-asked", detail: "this runtime cannot call shared libraries" });
  }
  try {
    return new LoadedVerbs(library, deadlineMs);
  } catch (error) {
    return noVerbs({ kind: "no-library", detail: error instanceof Error ? error.message : String(error) });
  }
}

class LoadedVerbs implements Verbs {
  readonly #verbs: Deno.DynamicLibrary<typeof SYMBOLS>;
  readonly #libc: Deno.DynamicLibrary<typeof LIBC_SYMBOLS>;
  readonly #deadlineMs: number;
  /** The call that has not returned. libibverbs locks its list, so a second call would block as well. */
  #pending: Promise<VerbsAnswer> | null = null;
  #disposed = false;

  constructor(library: string, deadlineMs: number) {
    this.#deadlineMs = deadlineMs;
    this.#libc = loadLibc(LIBC_SYMBOLS);
    try {
      this.#verbs = Deno.dlopen(library, SYMBOLS);
    } catch (error) {
      this.#libc.close();
      throw error;
    }
  }

  async list(): Promise<VerbsAnswer> {
    if (this.#disposed) return CLOSED;
    this.#pending ??= this.#call().finally(() => {
      this.#pending = null;
      if (this.#disposed) this.#close();
    });
    using deadline = startDeadline(this.#deadlineMs);
    const answer = await Promise.race([this.#pending, deadline.passed]);
    const detail = `ibv_get_device_list has not returned for ${this.#deadlineMs / 1000} s`;
    return answer ?? { kind: "failed", detail };
  }

  async #call(): Promise<VerbsAnswer> {
    const count = new Int32Array(1);
    let devices = await this.#verbs.symbols.ibv_get_device_list(count);
    if (devices === null) {
      // The call ran on another thread and left its errno there. A failing call fails at once, so it is repeated on
      // this thread, where errno can be read.
      this.#setErrno(0);
      devices = this.#verbs.symbols.ask_again(count);
      if (devices === null) return whyNull(this.#errno());
    }
    try {
      const found = this.#copy(devices, count[0]!);
      return found.length === 0 ? { kind: "empty" } : { kind: "list", devices: found };
    } catch (error) {
      return { kind: "failed", detail: error instanceof Error ? error.message : String(error) };
    } finally {
      this.#verbs.symbols.ibv_free_device_list(devices);
    }
  }

  /** Copies the list, whose memory belongs to the library and is freed by `ibv_free_device_list`. */
  #copy(devices: Deno.PointerObject, count: number): VerbsDevice[] {
    if (count < 0 || count > 4096) throw new Error(`libibverbs reports ${count} devices, which is not possible`);
    const array = new Deno.UnsafePointerView(devices);
    const found: VerbsDevice[] = [];
    for (let i = 0; i < count; i++) {
      const pointer = array.getPointer(i * 8);
      if (pointer === null) break; // NULL ends the list, regardless of the count
      const view = new Deno.UnsafePointerView(pointer);
      found.push({
        name: text(view, IBV_DEVICE.name),
        uverbs: text(view, IBV_DEVICE.dev_name),
        guid: guidText(this.#verbs.symbols.ibv_get_device_guid(pointer)),
        nodeType: view.getInt32(IBV_DEVICE.node_type.offset),
      });
    }
    return found;
  }

  #errno(): number {
    const location = this.#libc.symbols.__errno_location();
    return location === null ? 0 : new Deno.UnsafePointerView(location).getInt32();
  }

  #setErrno(value: number): void {
    const location = this.#libc.symbols.__errno_location();
    if (location !== null) new Int32Array(Deno.UnsafePointerView.getArrayBuffer(location, 4))[0] = value;
  }

  [Symbol.dispose](): void {
    if (this.#disposed) return;
    this.#disposed = true;
    if (this.#pending === null) this.#close(); // otherwise a thread still runs its code, and unloading would crash the process
  }

  #close(): void {
    this.#verbs.close();
    this.#libc.close();
  }
}

/** NULL without an error means no devices in libibverbs; ENOSYS means that the kernel has no uverbs. */
function whyNull(errno: number): VerbsAnswer {
  if (errno === ENOSYS) return { kind: "no-kernel-support" };
  if (errno === 0) return { kind: "empty" };
  return { kind: "failed", detail: `ibv_get_device_list returned NULL, errno ${errno}` };
}

/** Reads a fixed-size char array, which may lack its NUL. */
function text(view: Deno.UnsafePointerView, field: { offset: number; size: number }): string {
  const bytes = new Uint8Array(field.size);
  view.copyInto(bytes, field.offset);
  const end = bytes.indexOf(0);
  return new TextDecoder().decode(end < 0 ? bytes : bytes.subarray(0, end));
}

/** Formats a GUID in network byte order, read as a little-endian integer, as sysfs prints it. */
export function guidText(networkOrder: bigint): string {
  const bytes = new Uint8Array(8);
  // The value in memory is big-endian and FFI read it in host order, so it is written back in host order.
  new BigUint64Array(bytes.buffer)[0] = networkOrder;
  return [0, 2, 4, 6].map((i) => [...bytes.subarray(i, i + 2)].map((b) => b.toString(16).padStart(2, "0")).join(""))
    .join(":");
}
