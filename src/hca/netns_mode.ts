/**
 * RDMA network namespace mode: the equivalent of `rdma system show`.
 *
 * In `shared` mode every container sees every HCA. In `exclusive` mode an HCA is moved into one pod's network namespace
 * and is visible only there.
 *
 * @module
 */
import { C, OFFSET, SIZE } from "./abi.ts";
import { readLine } from "./files.ts";
import { type Bytes, type Libc, openLibc } from "./libc.ts";
import { encodeRequest, type Message, parseAttributes, parseError, parseMessages } from "./events/netlink_parse.ts";
import type { NetnsMode } from "./types.ts";

export interface NetnsModeOptions {
  /** True for a tree that is not the kernel's sysfs: only its files are read, and the kernel is not asked. */
  readonly fake?: boolean;
  readonly libc?: () => Libc;
}

/** RDMA_NL_GET_TYPE of rdma/rdma_netlink.h: client in the upper bits, command in the lower ten. */
const SYS_GET = (C.RDMA_NL_NLDEV << 10) | C.RDMA_NLDEV_CMD_SYS_GET;

/** The kernel answers from memory, so this timeout should never be reached. Milliseconds. */
const TIMEOUT_MS = 100;

/** Returns the mode; "unknown" when neither the kernel nor sysfs provides it. Never throws. */
export function readNetnsMode(sysfsRoot: string, options: NetnsModeOptions = {}): NetnsMode {
  return (options.fake ? null : askKernel(options.libc ?? openLibc)) ?? fromParameter(sysfsRoot);
}

/** Module parameter `netns_mode` of ib_core: Y is shared, the default. It is the mode at load time. */
function fromParameter(sysfsRoot: string): NetnsMode {
  switch (readLine(`${sysfsRoot}/module/ib_core/parameters/netns_mode`)) {
    case "Y":
    case "1":
      return "shared";
    case "N":
    case "0":
      return "exclusive";
    default:
      return "unknown";
  }
}

/** Null when the kernel has no RDMA netlink or this process may not ask. */
function askKernel(open: () => Libc): NetnsMode | null {
  try {
    using libc = open();
    const fd = libc.socket(C.AF_NETLINK, C.SOCK_RAW | C.SOCK_NONBLOCK | C.SOCK_CLOEXEC, C.NETLINK_RDMA);
    if (fd < 0) return null;
    try {
      return exchange(libc, fd);
    } finally {
      libc.close(fd);
    }
  } catch {
    return null; // no FFI here
  }
}

function exchange(libc: Libc, fd: number): NetnsMode | null {
  const kernel: Bytes = new Uint8Array(new ArrayBuffer(SIZE.sockaddr_nl));
  new DataView(kernel.buffer).setUint16(OFFSET.sockaddr_nl.nl_family, C.AF_NETLINK, true);
  if (libc.sendto(fd, encodeRequest(SYS_GET, 1), 0, kernel) < 0) return null;
  const pollfd: Bytes = new Uint8Array(new ArrayBuffer(SIZE.pollfd));
  const data = new DataView(pollfd.buffer);
  data.setInt32(OFFSET.pollfd.fd, fd, true);
  data.setInt16(OFFSET.pollfd.events, C.POLLIN, true);
  if (libc.poll(pollfd, 1, TIMEOUT_MS) <= 0) return null;
  const buffer: Bytes = new Uint8Array(new ArrayBuffer(4096));
  const length = libc.recvfrom(fd, buffer, C.MSG_DONTWAIT, kernel);
  return length < 0 ? null : parseNetnsReply(parseMessages(buffer.subarray(0, length)));
}

/**
 * Parses the kernel's answer. EINVAL comes from kernels before RDMA network namespaces (5.2), which behave as shared;
 * any other error counts as no answer.
 */
export function parseNetnsReply(messages: readonly Message[]): NetnsMode | null {
  for (const message of messages) {
    const error = parseError(message);
    if (error !== null && error !== 0) return error === C.EINVAL ? "shared" : null;
    if (message.type !== SYS_GET) continue;
    const mode = parseAttributes(message.payload).get(C.RDMA_NLDEV_SYS_ATTR_NETNS_MODE)?.[0];
    if (mode !== undefined) return mode === 0 ? "exclusive" : "shared";
  }
  return null;
}
