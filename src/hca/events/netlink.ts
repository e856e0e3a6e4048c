/**
 * Hardware changes announced by the kernel: uevents (HCAs, uverbs nodes and VFs are added, removed, renamed) and
 * rtnetlink (carrier, up and down, renames, addresses). Neither needs privileges.
 *
 * @module
 */
import { C, OFFSET, SIZE } from "../abi.ts";
import { type Bytes, errnoName, type Libc, openLibc } from "../libc.ts";
import { isAnnounced } from "./coverage.ts";
import { LinkTable } from "./link_table.ts";
import { concernsRdma, describeUevent, parseMessages, parseRoute, parseUevent } from "./netlink_parse.ts";
import { type EventSource, type Trigger, trigger } from "./trigger.ts";

export interface NetlinkOptions {
  /** Called with a sentence when one of the two sockets cannot be opened; the other one still works. */
  readonly onProblem?: (sentence: string) => void;
  /** Links whose changes are ignored, by name. */
  readonly ignoreLink?: (name: string) => boolean;
  /** Bytes of SO_RCVBUF. The kernel drops events that do not fit, and a full scan is then needed. */
  readonly receiveBuffer?: number;
  /** Opens libc; tests pass a fake. */
  readonly libc?: () => Libc;
}

/** One megabyte holds a few thousand events, more than a driver reload raises. */
const RECEIVE_BUFFER = 1 << 20;

/** A datagram of rtnetlink is at most 32 KiB (NLMSG_GOODSIZE and jumbo VF lists), a uevent at most 2 KiB. */
const LARGEST = 64 << 10;

/** UEVENT group of the kernel; udev's own messages go to group 2. */
const KERNEL_GROUP = 1;

interface Channel {
  readonly fd: number;
  readonly name: "uevent" | "link";
  /** See {@link Trigger.settle}. */
  readonly settle: boolean;
  readonly parse: (datagram: Uint8Array, links: LinkTable) => readonly News[];
}

/** Emits a trigger for every kernel message that may concern RDMA. */
export function netlinkSource(options: NetlinkOptions = {}): EventSource {
  /** The socket of link messages, while both are open. */
  let listening: { readonly libc: Libc; readonly fd: number } | null = null;
  return {
    name: "netlink",
    covers: (ports) => listening !== null && ports.every((port) => isAnnounced(port, listening!.libc, listening!.fd)),
    async run(emit, signal) {
      using libc = (options.libc ?? openLibc)();
      const open: number[] = [];
      try {
        const channels = openChannels(libc, options, open);
        if (channels.length === 2) listening = { libc, fd: channels[1]!.fd };
        const waker = check(libc, libc.eventfd(0, C.EFD_NONBLOCK | C.EFD_CLOEXEC), "eventfd");
        open.push(waker);
        await follow(libc, channels, waker, new LinkTable(options.ignoreLink), emit, signal);
      } finally {
        listening = null;
        for (const fd of open) libc.close(fd);
      }
    },
  };
}

/** Opens both sockets, or the one that works. Throws when neither does. */
function openChannels(libc: Libc, options: NetlinkOptions, open: number[]): readonly Channel[] {
  const wanted = [
    {
      name: "uevent",
      protocol: C.NETLINK_KOBJECT_UEVENT,
      groups: KERNEL_GROUP,
      settle: false,
      parse: ofUevent,
      costs: "HCAs that come and go",
    },
    {
      name: "link",
      protocol: C.NETLINK_ROUTE,
      groups: C.RTMGRP_LINK | C.RTMGRP_IPV4_IFADDR | C.RTMGRP_IPV6_IFADDR,
      settle: true,
      parse: ofRoute,
      costs: "links that go up and down",
    },
  ] as const;
  const reasons: string[] = [];
  const channels: Channel[] = [];
  for (const { name, protocol, groups, costs, ...how } of wanted) {
    try {
      const type = C.SOCK_RAW | C.SOCK_NONBLOCK | C.SOCK_CLOEXEC;
      const fd = check(libc, libc.socket(C.AF_NETLINK, type, protocol), "socket");
      open.push(fd);
      enlarge(libc, fd, options.receiveBuffer ?? RECEIVE_BUFFER);
      check(libc, libc.bind(fd, address(groups)), "bind");
      channels.push({ fd, name, ...how });
    } catch (error) {
      reasons.push(
        `Cannot listen to ${name} events (${(error as Error).message}): ${costs} are found by scans only`,
      );
    }
  }
  if (channels.length === 0) throw new Error(reasons.join("; "));
  for (const reason of reasons) options.onProblem?.(reason);
  return channels;
}

/** SO_RCVBUFFORCE exceeds net.core.rmem_max but needs CAP_NET_ADMIN; without it, that limit applies. */
function enlarge(libc: Libc, fd: number, bytes: number): void {
  if (libc.setsockopt(fd, C.SOL_SOCKET, C.SO_RCVBUFFORCE, bytes) === 0) return;
  libc.setsockopt(fd, C.SOL_SOCKET, C.SO_RCVBUF, bytes);
}

/**
 * Waits for messages and dispatches them until the signal aborts.
 *
 * A single poll() waits for all sockets, on one thread of the runtime's blocking pool. The pool has 32 threads, which
 * file reads also use, so a thread per socket or HCA could starve them. The eventfd ends the wait on abort.
 */
async function follow(
  libc: Libc,
  channels: readonly Channel[],
  waker: number,
  links: LinkTable,
  emit: (trigger: Trigger) => void,
  signal: AbortSignal,
): Promise<void> {
  const fds = [...channels.map((channel) => channel.fd), waker];
  const wake = () => libc.write(waker, new Uint8Array(new BigUint64Array([1n]).buffer));
  signal.addEventListener("abort", wake);
  const buffer: Bytes = new Uint8Array(new ArrayBuffer(LARGEST));
  try {
    while (!signal.aborted) {
      const ready = await libc.pollWaiting(pollSet(fds), fds.length, -1);
      if (signal.aborted) return;
      for (const channel of channels) drain(libc, channel, buffer, links, emit);
      // errno belongs to the thread that polled and is not available here. EINTR is the only expected failure, and the
      // sockets have just been drained; the delay prevents a busy loop if the failure repeats.
      if (ready < 0) await new Promise((resolve) => setTimeout(resolve, 100));
    }
  } finally {
    signal.removeEventListener("abort", wake);
  }
}

/**
 * Reads until the queue is empty.
 *
 * The kernel reports an overrun once, before the messages that were queued until then, and drops all further messages
 * until the queue is empty (`NETLINK_S_CONGESTED` in net/netlink/af_netlink.c). Only when the queue is empty is it
 * certain that nothing more was lost: the link table is then reset, and a full scan follows.
 */
function drain(libc: Libc, channel: Channel, buffer: Bytes, links: LinkTable, emit: (trigger: Trigger) => void): void {
  const from: Bytes = new Uint8Array(new ArrayBuffer(SIZE.sockaddr_nl));
  let lost: string | null = null;
  for (;;) {
    const length = libc.recvfrom(channel.fd, buffer, C.MSG_DONTWAIT | C.MSG_TRUNC, from);
    if (length < 0) {
      const errno = libc.errno();
      if (errno === C.EAGAIN) break;
      if (errno === C.EINTR) continue;
      if (errno === C.ENOBUFS) {
        lost = "the kernel's buffer overflowed";
        continue;
      }
      throw new Error(`Cannot read ${channel.name} events: recvfrom fails with ${errnoName(errno)}`);
    }
    if (length > buffer.byteLength) {
      lost = `one had ${length} bytes`;
      continue;
    }
    // Only the kernel has port ID 0; messages from other processes on the machine are ignored.
    const sender = new DataView(from.buffer).getUint32(OFFSET.sockaddr_nl.nl_pid, true);
    if (sender !== 0) continue;
    const bytes = buffer.subarray(0, length);
    for (const { depth, detail } of channel.parse(bytes, links)) {
      emit(trigger(channel.name, detail, { depth, urgency: "collect", settle: channel.settle }));
    }
  }
  if (lost === null) return;
  links.forget();
  emit(trigger("overrun", `${channel.name} messages were lost: ${lost}`, { depth: "full", urgency: "collect" }));
}

type News = Pick<Trigger, "depth" | "detail">;

function ofUevent(bytes: Uint8Array): readonly News[] {
  const event = parseUevent(bytes);
  return event !== null && concernsRdma(event) ? [{ depth: "full", detail: describeUevent(event) }] : [];
}

function ofRoute(bytes: Uint8Array, links: LinkTable): readonly News[] {
  return parseMessages(bytes).flatMap((message) => {
    const parsed = parseRoute(message);
    const change = parsed === null ? null : links.note(parsed);
    return change === null ? [] : [change];
  });
}

function address(groups: number): Bytes {
  const bytes = new Uint8Array(new ArrayBuffer(SIZE.sockaddr_nl));
  const data = new DataView(bytes.buffer);
  data.setUint16(OFFSET.sockaddr_nl.nl_family, C.AF_NETLINK, true);
  data.setUint32(OFFSET.sockaddr_nl.nl_groups, groups, true);
  return bytes;
}

/** A new array for every poll: the previous one must not be modified while its call is pending. */
function pollSet(fds: readonly number[]): Bytes {
  const bytes = new Uint8Array(new ArrayBuffer(SIZE.pollfd * fds.length));
  const data = new DataView(bytes.buffer);
  fds.forEach((fd, i) => {
    data.setInt32(i * SIZE.pollfd + OFFSET.pollfd.fd, fd, true);
    data.setInt16(i * SIZE.pollfd + OFFSET.pollfd.events, C.POLLIN, true);
  });
  return bytes;
}

function check(libc: Libc, result: number, call: string): number {
  if (result < 0) throw new Error(`${call} fails with ${errnoName(libc.errno())}`);
  return result;
}
