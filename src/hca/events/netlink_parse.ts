/**
 * Parsers for netlink messages: pure functions from bytes to values. They accept any bytes and return a value or
 * `null`; they never throw or loop, because a malformed message must not stop event handling.
 *
 * @module
 */
import { endianness } from "node:os";
import { printable } from "../../text/printable.ts";
import { C, OFFSET, SIZE } from "../abi.ts";

/** Netlink is in host byte order. */
const LITTLE = endianness() === "LE";

/** Rounds up to NLMSG_ALIGNTO and RTA_ALIGNTO, <linux/netlink.h> and <linux/rtnetlink.h>; both are 4. */
function align(length: number): number {
  return (length + 3) & ~3;
}

function view(bytes: Uint8Array): DataView {
  return new DataView(bytes.buffer, bytes.byteOffset, bytes.byteLength);
}

function text(bytes: Uint8Array): string {
  const end = bytes.indexOf(0);
  return printable(new TextDecoder().decode(end < 0 ? bytes : bytes.subarray(0, end)));
}

/** One message of kernel lib/kobject_uevent.c: `ACTION@DEVPATH`, then `KEY=VALUE`, each ended by a NUL. */
export interface Uevent {
  /** "add", "remove", "change", "move", "bind", "unbind", "online", "offline" */
  readonly action: string;
  /** Path relative to /sys, with the leading slash. */
  readonly devpath: string;
  /** Empty when the message has none. */
  readonly subsystem: string;
  /** The other keys, `SUBSYSTEM` included. */
  readonly env: ReadonlyMap<string, string>;
}

/** Parses one datagram of the uevent socket; `null` for anything but a kernel message (udev's start with "libudev"). */
export function parseUevent(bytes: Uint8Array): Uevent | null {
  const [header = "", ...pairs] = new TextDecoder().decode(bytes).split("\0");
  const at = header.indexOf("@");
  if (at <= 0 || header[at + 1] !== "/") return null;
  const env = new Map<string, string>();
  for (const pair of pairs) {
    const equals = pair.indexOf("=");
    if (equals > 0) env.set(pair.slice(0, equals), printable(pair.slice(equals + 1)));
  }
  return {
    action: printable(header.slice(0, at)),
    devpath: printable(header.slice(at + 1)),
    subsystem: env.get("SUBSYSTEM") ?? "",
    env,
  };
}

/**
 * Auxiliary devices that carry an RDMA function or are a sub-function: mlx5_core.rdma.0, ice.roce.1, mlx5_core.sf.4.
 */
const RDMA_AUXILIARY = /\.(rdma|rdma-rep|multiport|roce|iwarp|sf)\.\d+$/;

/**
 * Whether this uevent may change what a scan finds. An allow list, because a busy node raises thousands of uevents
 * (queues, block devices, cgroups of containers) that are unrelated to RDMA.
 */
export function concernsRdma(event: Uevent): boolean {
  const name = lastPart(event.devpath);
  switch (event.subsystem) {
    case "infiniband":
    case "infiniband_verbs":
    case "infiniband_mad":
    case "infiniband_cm":
    case "net":
    case "pci": // bind and unbind of the driver too
      return true;
    case "misc":
      return name === "rdma_cm" || name === "knem";
    case "auxiliary":
      return RDMA_AUXILIARY.test(name);
    default:
      return false;
  }
}

/** A description for logs: "remove mlx5_0 (infiniband)", "move rxe0 to rxe9 (infiniband)". */
export function describeUevent(event: Uevent): string {
  const name = lastPart(event.devpath);
  const before = event.env.get("DEVPATH_OLD");
  return before === undefined
    ? `${event.action} ${name} (${event.subsystem})`
    : `${event.action} ${lastPart(before)} to ${name} (${event.subsystem})`;
}

function lastPart(path: string): string {
  return path.slice(path.lastIndexOf("/") + 1);
}

/** One message of a netlink datagram: `struct nlmsghdr` and its payload. */
export interface Message {
  readonly type: number;
  readonly flags: number;
  readonly seq: number;
  readonly pid: number;
  readonly payload: Uint8Array;
}

/** Splits a datagram into messages. Stops at the first header with an invalid length. */
export function parseMessages(datagram: Uint8Array): readonly Message[] {
  const data = view(datagram);
  const { nlmsg_len, nlmsg_type, nlmsg_flags, nlmsg_seq, nlmsg_pid } = OFFSET.nlmsghdr;
  const messages: Message[] = [];
  for (let at = 0; at + SIZE.nlmsghdr <= datagram.byteLength;) {
    const length = data.getUint32(at + nlmsg_len, LITTLE);
    if (length < SIZE.nlmsghdr || length > datagram.byteLength - at) break;
    messages.push({
      type: data.getUint16(at + nlmsg_type, LITTLE),
      flags: data.getUint16(at + nlmsg_flags, LITTLE),
      seq: data.getUint32(at + nlmsg_seq, LITTLE),
      pid: data.getUint32(at + nlmsg_pid, LITTLE),
      payload: datagram.subarray(at + SIZE.nlmsghdr, at + length),
    });
    at += align(length); // > at, since length >= 16
  }
  return messages;
}

/** Encodes a request without payload. */
export function encodeRequest(type: number, seq: number): Uint8Array<ArrayBuffer> {
  const bytes = new Uint8Array(new ArrayBuffer(SIZE.nlmsghdr));
  const data = view(bytes);
  data.setUint32(OFFSET.nlmsghdr.nlmsg_len, SIZE.nlmsghdr, LITTLE);
  data.setUint16(OFFSET.nlmsghdr.nlmsg_type, type, LITTLE);
  data.setUint16(OFFSET.nlmsghdr.nlmsg_flags, C.NLM_F_REQUEST, LITTLE);
  data.setUint32(OFFSET.nlmsghdr.nlmsg_seq, seq, LITTLE);
  return bytes;
}

/** The errno of an NLMSG_ERROR message as a positive number, 0 for an acknowledgement; `null` for other messages. */
export function parseError(message: Message): number | null {
  if (message.type !== C.NLMSG_ERROR || message.payload.byteLength < 4) return null;
  return -view(message.payload).getInt32(OFFSET.nlmsgerr.error, LITTLE) | 0;
}

/**
 * Attributes by type (`struct rtattr`, the same as `struct nlattr`). The last of a type wins; an invalid one ends the
 * list.
 */
export function parseAttributes(bytes: Uint8Array): ReadonlyMap<number, Uint8Array> {
  const data = view(bytes);
  const attributes = new Map<number, Uint8Array>();
  for (let at = 0; at + SIZE.rtattr <= bytes.byteLength;) {
    const length = data.getUint16(at + OFFSET.rtattr.rta_len, LITTLE);
    if (length < SIZE.rtattr || length > bytes.byteLength - at) break;
    const type = data.getUint16(at + OFFSET.rtattr.rta_type, LITTLE) & C.NLA_TYPE_MASK;
    attributes.set(type, bytes.subarray(at + SIZE.rtattr, at + length));
    at += align(length); // > at, since length >= 4
  }
  return attributes;
}

/** A link as described by RTM_NEWLINK or RTM_DELLINK. */
export interface LinkMessage {
  readonly kind: "link" | "link-gone";
  readonly index: number;
  readonly name: string;
  /** IFF_* bits. */
  readonly flags: number;
  /** True for a link that was just registered: all bits of `ifi_change` are set. */
  readonly isNew: boolean;
  /** IF_OPER_* of <linux/if.h>; null when the message has none. */
  readonly operstate: number | null;
  readonly carrier: boolean | null;
  /** Index of the bond, bridge or VRF that the link belongs to. */
  readonly master: number | null;
  /** Hardware address in hex digits; a RoCE port derives its default GIDs from it. */
  readonly address: string | null;
}

/** An address as described by RTM_NEWADDR or RTM_DELADDR. */
export interface AddressMessage {
  readonly kind: "address" | "address-gone";
  readonly index: number;
  /** With the prefix length, IPv6 as eight groups without compression. */
  readonly address: string;
}

/** Kernel <linux/socket.h>; rtnetlink shares the link group with the bridge, which sends its own RTM_NEWLINK. */
const AF_UNSPEC = 0;

/** Parses one rtnetlink message; `null` when it describes neither a link nor an address. */
export function parseRoute(message: Message): LinkMessage | AddressMessage | null {
  switch (message.type) {
    case C.RTM_NEWLINK:
      return parseLink("link", message.payload);
    case C.RTM_DELLINK:
      return parseLink("link-gone", message.payload);
    case C.RTM_NEWADDR:
      return parseAddress("address", message.payload);
    case C.RTM_DELADDR:
      return parseAddress("address-gone", message.payload);
    default:
      return null;
  }
}

function parseLink(kind: LinkMessage["kind"], payload: Uint8Array): LinkMessage | null {
  if (payload.byteLength < SIZE.ifinfomsg) return null;
  const data = view(payload);
  const { ifi_family, ifi_index, ifi_flags, ifi_change } = OFFSET.ifinfomsg;
  // A port that leaves a bridge is announced as RTM_DELLINK of AF_BRIDGE; the link itself still exists.
  if (data.getUint8(ifi_family) !== AF_UNSPEC) return null;
  const attributes = parseAttributes(payload.subarray(SIZE.ifinfomsg));
  const name = attributes.get(C.IFLA_IFNAME);
  const carrier = firstByte(attributes.get(C.IFLA_CARRIER));
  const master = attributes.get(C.IFLA_MASTER);
  const address = attributes.get(C.IFLA_ADDRESS);
  const index = data.getInt32(ifi_index, LITTLE);
  return {
    kind,
    index,
    name: name === undefined ? `link ${index}` : text(name),
    flags: data.getUint32(ifi_flags, LITTLE),
    isNew: data.getUint32(ifi_change, LITTLE) === 0xffffffff,
    operstate: firstByte(attributes.get(C.IFLA_OPERSTATE)),
    carrier: carrier === null ? null : carrier !== 0,
    master: master === undefined || master.byteLength < 4 ? null : view(master).getUint32(0, LITTLE),
    address: address === undefined ? null : hex(address),
  };
}

function parseAddress(kind: AddressMessage["kind"], payload: Uint8Array): AddressMessage | null {
  if (payload.byteLength < SIZE.ifaddrmsg) return null;
  const data = view(payload);
  const attributes = parseAttributes(payload.subarray(SIZE.ifaddrmsg));
  // On a point-to-point link IFA_ADDRESS is the peer and IFA_LOCAL the own address; other IPv6 links only have
  // IFA_ADDRESS.
  const address = attributes.get(C.IFA_LOCAL) ?? attributes.get(C.IFA_ADDRESS);
  if (address === undefined) return null;
  return {
    kind,
    index: data.getUint32(OFFSET.ifaddrmsg.ifa_index, LITTLE),
    address: `${ipText(address)}/${data.getUint8(OFFSET.ifaddrmsg.ifa_prefixlen)}`,
  };
}

function firstByte(bytes: Uint8Array | undefined): number | null {
  return bytes?.[0] ?? null;
}

function hex(bytes: Uint8Array): string {
  return Array.from(bytes, (byte) => byte.toString(16).padStart(2, "0")).join("");
}

function ipText(bytes: Uint8Array): string {
  if (bytes.byteLength === 4) return bytes.join(".");
  return hex(bytes).replace(/(.{4})(?=.)/g, "$1:");
}
