/**
 * The libc calls that netlink needs, through FFI.
 *
 * @module
 */
import { getSystemErrorName } from "node:util";
import { loadLibc } from "./ffi.ts";

const SYMBOLS = {
  socket: {
    parameters: [
      "i32", // int domain
      "i32", // int type
      "i32", // int protocol
    ],
    result: "i32",
  },
  bind: {
    parameters: [
      "i32", // int sockfd
      "buffer", // const struct sockaddr *addr
      "u32", // socklen_t addrlen
    ],
    result: "i32",
  },
  setsockopt: {
    parameters: [
      "i32", // int sockfd
      "i32", // int level
      "i32", // int optname
      "buffer", // const void *optval
      "u32", // socklen_t optlen
    ],
    result: "i32",
  },
  sendto: {
    parameters: [
      "i32", // int sockfd
      "buffer", // const void *buf
      "usize", // size_t len
      "i32", // int flags
      "buffer", // const struct sockaddr *dest_addr
      "u32", // socklen_t addrlen
    ],
    result: "isize",
  },
  recvfrom: {
    parameters: [
      "i32", // int sockfd
      "buffer", // void *buf
      "usize", // size_t len
      "i32", // int flags
      "buffer", // struct sockaddr *src_addr
      "buffer", // socklen_t *addrlen
    ],
    result: "isize",
  },
  poll: {
    parameters: [
      "buffer", // struct pollfd *fds
      "usize", // nfds_t nfds
      "i32", // int timeout, milliseconds
    ],
    result: "i32",
  },
  poll_waiting: {
    name: "poll",
    parameters: [
      "buffer", // struct pollfd *fds
      "usize", // nfds_t nfds
      "i32", // int timeout, milliseconds, -1 = for ever
    ],
    result: "i32",
    nonblocking: true,
  },
  eventfd: {
    parameters: [
      "u32", // unsigned int initval
      "i32", // int flags
    ],
    result: "i32",
  },
  write: {
    parameters: [
      "i32", // int fd
      "buffer", // const void *buf
      "usize", // size_t count
    ],
    result: "isize",
  },
  close: {
    parameters: [
      "i32", // int fd
    ],
    result: "i32",
  },
  ioctl: {
    parameters: [
      "i32", // int fd
      "usize", // unsigned long request
      "buffer", // void *, for the requests that are made here
    ],
    result: "i32",
  },
  __errno_location: { parameters: [], result: "pointer" },
} as const satisfies Deno.ForeignLibraryInterface;

/** A buffer that C may read and write. */
export type Bytes = Uint8Array<ArrayBuffer>;

/**
 * libc as the netlink code uses it; tests pass a fake. All calls return what C returns: after -1, `errno()` must be
 * called at once for the error.
 */
export interface Libc {
  socket(domain: number, type: number, protocol: number): number;
  bind(fd: number, address: Bytes): number;
  /** Sets an `int` option. */
  setsockopt(fd: number, level: number, option: number, value: number): number;
  sendto(fd: number, message: Bytes, flags: number, to: Bytes): number;
  /** `from` receives the sender's address. */
  recvfrom(fd: number, into: Bytes, flags: number, from: Bytes): number;
  /** On the calling thread, so only with a short timeout. Milliseconds. */
  poll(fds: Bytes, count: number, timeout: number): number;
  /**
   * On a thread of the runtime's blocking pool, without time limit; the promise keeps the process alive. `errno()` is
   * not valid for this call, because errno belongs to the thread that ran it. `fds` must not be modified meanwhile.
   */
  pollWaiting(fds: Bytes, count: number, timeout: number): Promise<number>;
  eventfd(initial: number, flags: number): number;
  write(fd: number, bytes: Bytes): number;
  close(fd: number): number;
  ioctl(fd: number, request: number, argument: Bytes): number;
  errno(): number;
  /** Closes the library. No call may be pending. */
  [Symbol.dispose](): void;
}

/**
 * Opens libc.
 *
 * @throws {Error} when the runtime has no FFI, FFI is not permitted, or libc is not found
 */
export function openLibc(): Libc {
  const library = loadLibc(SYMBOLS);
  const { symbols: c } = library;
  // errno has one address per thread, and JavaScript stays on its thread. The address is requested once, so that no
  // call of the runtime can overwrite errno between a failed call and the read.
  const errnoAddress = c.__errno_location();
  if (errnoAddress === null) {
    library.close();
    throw new Error("Cannot call libc: __errno_location() returned NULL");
  }
  const errno = new Deno.UnsafePointerView(errnoAddress);
  const addressLength = new Uint32Array(new ArrayBuffer(4));
  return {
    socket: (domain, type, protocol) => c.socket(domain, type, protocol),
    bind: (fd, address) => c.bind(fd, address, address.byteLength),
    setsockopt: (fd, level, option, value) => c.setsockopt(fd, level, option, Int32Array.of(value), 4),
    sendto: (fd, message, flags, to) =>
      Number(c.sendto(fd, message, BigInt(message.byteLength), flags, to, to.byteLength)),
    recvfrom(fd, into, flags, from) {
      addressLength[0] = from.byteLength;
      return Number(c.recvfrom(fd, into, BigInt(into.byteLength), flags, from, addressLength));
    },
    poll: (fds, count, timeout) => c.poll(fds, BigInt(count), timeout),
    pollWaiting: (fds, count, timeout) => c.poll_waiting(fds, BigInt(count), timeout),
    eventfd: (initial, flags) => c.eventfd(initial, flags),
    write: (fd, bytes) => Number(c.write(fd, bytes, BigInt(bytes.byteLength))),
    close: (fd) => c.close(fd),
    ioctl: (fd, request, argument) => c.ioctl(fd, BigInt(request), argument),
    errno: () => errno.getInt32(),
    [Symbol.dispose]: () => library.close(),
  };
}

/** The name, such as "EPERM", or the number when it has no name. */
export function errnoName(errno: number): string {
  try {
    return getSystemErrorName(-errno) ?? `errno ${errno}`;
  } catch {
    return `errno ${errno}`; // Node.js throws for numbers outside its table
  }
}
