import { deepEqual, equal } from "@std/assert";
import { C } from "../../../src/hca/abi.ts";
import {
  concernsRdma,
  describeUevent,
  encodeRequest,
  type Message,
  parseAttributes,
  parseError,
  parseMessages,
  parseRoute,
  parseUevent,
} from "../../../src/hca/events/netlink_parse.ts";

/** Little-endian bytes of 16 and 32 bits; the machines that run these tests are. */
const u16 = (value: number) => [value & 0xff, value >> 8 & 0xff];
const u32 = (value: number) => [...u16(value & 0xffff), ...u16(value >>> 16)];
const chars = (text: string) => [...new TextEncoder().encode(text)];

function uevent(header: string, env: Record<string, string>) {
  const pairs = Object.entries(env).map(([key, value]) => `${key}=${value}\0`);
  return parseUevent(Uint8Array.from(chars(`${header}\0${pairs.join("")}`)));
}

function attribute(type: number, value: readonly number[]): number[] {
  const padding = (4 - value.length % 4) % 4;
  return [...u16(4 + value.length), ...u16(type), ...value, ...new Array<number>(padding).fill(0)];
}

/** struct ifinfomsg: family, pad, type (ARPHRD_ETHER), index, flags, change. */
function link(type: number, family: number, index: number, flags: number, change: number, attributes: number[] = []) {
  const payload = [family, 0, ...u16(1), ...u32(index), ...u32(flags), ...u32(change), ...attributes];
  return parseRoute({ type, flags: 0, seq: 0, pid: 0, payload: Uint8Array.from(payload) });
}

/** struct ifaddrmsg: family, prefix length, flags, scope, index. */
function address(type: number, prefix: number, index: number, attributes: number[]) {
  const payload = Uint8Array.from([2, prefix, 0x80, 0, ...u32(index), ...attributes]);
  return parseRoute({ type, flags: 0, seq: 0, pid: 0, payload });
}

Deno.test("parseUevent() takes a kernel message apart", () => {
  const event = uevent("remove@/devices/pci0000:3a/0000:3b:00.0/infiniband/mlx5_0", {
    ACTION: "remove",
    SUBSYSTEM: "infiniband",
    NAME: "mlx5_0",
    SEQNUM: "4711",
  });
  equal(event?.action, "remove");
  equal(event?.devpath, "/devices/pci0000:3a/0000:3b:00.0/infiniband/mlx5_0");
  equal(event?.subsystem, "infiniband");
  equal(event?.env.get("SEQNUM"), "4711");
});

Deno.test("parseUevent() says null when the message is udev's, empty or without a path", () => {
  for (const text of ["libudev\0\xfe\xed\xca\xfe", "", "\0\0", "add", "add@", "@/devices/x", "add@devices/x"]) {
    equal(parseUevent(Uint8Array.from(chars(text))), null, text);
  }
});

Deno.test("describeUevent() names the object, and both names when it was renamed", () => {
  equal(
    describeUevent(uevent("remove@/devices/x/infiniband/mlx5_0", { SUBSYSTEM: "infiniband" })!),
    "remove mlx5_0 (infiniband)",
  );
  const moved = uevent("move@/devices/virtual/infiniband/rxe9", {
    SUBSYSTEM: "infiniband",
    DEVPATH_OLD: "/devices/virtual/infiniband/rxe0",
  });
  equal(describeUevent(moved!), "move rxe0 to rxe9 (infiniband)");
});

Deno.test("describeUevent() leaves nothing in a name that could steer a terminal", () => {
  equal(describeUevent(uevent("add@/devices/\x1b[2Jx", { SUBSYSTEM: "net\n" })!), "add ?[2Jx (net?)");
});

Deno.test("concernsRdma() picks what can change the picture of the HCAs", () => {
  const cases: readonly [string, string, boolean][] = [
    ["infiniband", "/devices/x/infiniband/mlx5_0", true],
    ["infiniband_verbs", "/devices/x/infiniband_verbs/uverbs0", true],
    ["infiniband_mad", "/devices/x/infiniband_mad/umad0", true],
    ["infiniband_cm", "/devices/x/infiniband_cm/ucm0", true],
    ["net", "/devices/virtual/net/veth1", true],
    ["pci", "/devices/pci0000:3a/0000:3b:00.2", true],
    ["misc", "/devices/virtual/misc/rdma_cm", true],
    ["misc", "/devices/virtual/misc/knem", true],
    ["misc", "/devices/virtual/misc/fuse", false],
    ["auxiliary", "/devices/x/mlx5_core.rdma.0", true],
    ["auxiliary", "/devices/x/mlx5_core.sf.4", true],
    ["auxiliary", "/devices/x/ice.roce.1", true],
    ["auxiliary", "/devices/x/irdma.iwarp.12", true],
    ["auxiliary", "/devices/x/mlx5_core.eth.0", false],
    ["auxiliary", "/devices/x/snd_hda.rdma", false],
    ["queues", "/devices/virtual/net/veth1/queues/rx-0", false],
    ["block", "/devices/virtual/block/loop0", false],
    ["", "/module/ib_core", false],
  ];
  for (const [subsystem, path, expected] of cases) {
    equal(concernsRdma(uevent(`add@${path}`, { SUBSYSTEM: subsystem })!), expected, path);
  }
});

Deno.test("encodeRequest() writes the header that <linux/netlink.h> describes", () => {
  // nlmsg_len 16, nlmsg_type 5126, nlmsg_flags NLM_F_REQUEST, nlmsg_seq 7, nlmsg_pid 0
  deepEqual([...encodeRequest(5126, 7)], [16, 0, 0, 0, 0x06, 0x14, 1, 0, 7, 0, 0, 0, 0, 0, 0, 0]);
});

Deno.test("parseMessages() splits a datagram at aligned boundaries and stops at a length that is a lie", () => {
  const message = (length: number, payload: number[]) => [
    ...u32(length),
    ...u16(16),
    ...u16(2),
    ...u32(3),
    ...u32(4),
    ...payload,
  ];
  const good = message(17, [42, 0, 0, 0]); // one byte of payload, padded to four
  const expected: Message = { type: 16, flags: 2, seq: 3, pid: 4, payload: Uint8Array.of(42) };
  const parse = (bytes: number[]) =>
    parseMessages(Uint8Array.from(bytes)).map((m) => ({ ...m, payload: m.payload.slice() }));
  deepEqual(parse([...good, ...good]), [expected, expected]);
  deepEqual(parse(good.slice(0, 17)), [expected]);
  for (const lie of [0, 15, 0xffffffff, 0x80000000]) deepEqual(parse([...good, ...message(lie, [])]), [expected]);
});

Deno.test("parseAttributes() reads padded values, ignores flag bits and stops at a length that is a lie", () => {
  const good = [...attribute(C.IFLA_IFNAME, [1, 2, 3, 4, 5]), ...attribute(C.IFLA_MASTER | 0x8000, [6])];
  for (const end of [[], [0, 0, 9, 0], [3, 0, 9, 0], [255, 255, 9, 0], [4]]) {
    const attributes = parseAttributes(Uint8Array.from([...good, ...end]));
    deepEqual([...attributes].map(([type, value]) => [type, [...value]]), [
      [C.IFLA_IFNAME, [1, 2, 3, 4, 5]],
      [C.IFLA_MASTER, [6]],
    ]);
  }
  deepEqual([...parseAttributes(Uint8Array.of(4, 0, 9, 0)).get(9)!], []); // a flag: no value at all
});

Deno.test("parseRoute() reads a link", () => {
  const attributes = [
    ...attribute(C.IFLA_IFNAME, chars("eth1\0")),
    ...attribute(C.IFLA_OPERSTATE, [2]),
    ...attribute(C.IFLA_CARRIER, [0]),
    ...attribute(C.IFLA_MASTER, u32(9)),
    ...attribute(C.IFLA_ADDRESS, [0xb8, 0x59, 0x9f, 0, 1, 2]),
  ];
  deepEqual(link(C.RTM_NEWLINK, 0, 5, 0x1003, 0xffffffff, attributes), {
    kind: "link",
    index: 5,
    name: "eth1",
    flags: 0x1003,
    isNew: true,
    operstate: 2,
    carrier: false,
    master: 9,
    address: "b8599f000102",
  });
});

Deno.test("parseRoute() reads a link that says nothing but its number", () => {
  deepEqual(link(C.RTM_DELLINK, 0, 5, 0, 0), {
    kind: "link-gone",
    index: 5,
    name: "link 5",
    flags: 0,
    isNew: false,
    operstate: null,
    carrier: null,
    master: null,
    address: null,
  });
});

Deno.test("parseRoute() does not take a bridge port's message for the link's", () => {
  const AF_BRIDGE = 7;
  equal(link(C.RTM_DELLINK, AF_BRIDGE, 5, 0, 0), null);
});

Deno.test("parseRoute() reads addresses of both families, our end of a point-to-point link", () => {
  const v4 = attribute(C.IFA_LOCAL, [10, 1, 2, 3]);
  const peer = attribute(C.IFA_ADDRESS, [10, 9, 9, 9]);
  deepEqual(address(C.RTM_NEWADDR, 24, 5, [...peer, ...v4]), { kind: "address", index: 5, address: "10.1.2.3/24" });
  const v6 = attribute(C.IFA_ADDRESS, [0xfe, 0x80, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 1]);
  deepEqual(address(C.RTM_DELADDR, 64, 5, v6), {
    kind: "address-gone",
    index: 5,
    address: "fe80:0000:0000:0000:0000:0000:0000:0001/64",
  });
  equal(address(C.RTM_NEWADDR, 24, 5, []), null);
});

Deno.test("parseError() reads the errno of an error, 0 of an acknowledgement, null of all else", () => {
  const message = (type: number, payload: number[]): Message => ({
    type,
    flags: 0,
    seq: 0,
    pid: 0,
    payload: Uint8Array.from(payload),
  });
  equal(parseError(message(C.NLMSG_ERROR, u32(-22 >>> 0))), 22);
  equal(parseError(message(C.NLMSG_ERROR, u32(0))), 0);
  equal(parseError(message(C.NLMSG_ERROR, [1, 2])), null);
  equal(parseError(message(C.RTM_NEWLINK, u32(-22 >>> 0))), null);
});
