/**
 * Netlink messages: whole ones, cut ones, and ones that lie about their lengths.
 *
 * @module
 */
import { deepEqual, equal } from "@std/assert";
import { Buffer } from "node:buffer";
import * as fc from "fast-check";
import { C, SIZE } from "../../../src/hca/abi.ts";
import { LinkTable } from "../../../src/hca/events/link_table.ts";
import {
  concernsRdma,
  describeUevent,
  parseAttributes,
  parseError,
  parseMessages,
  parseRoute,
  parseUevent,
} from "../../../src/hca/events/netlink_parse.ts";
import type { Prepared, Target } from "../target.ts";
import { clean, must, sentence } from "../words.ts";

/** One attribute as it is meant. */
interface Attribute {
  readonly type: number;
  readonly value: Uint8Array;
}

/** One message as it is meant; the body has the length of its type's struct. */
interface Meant {
  readonly type: number;
  readonly body: Uint8Array;
  readonly attributes: readonly Attribute[];
}

/** How the datagram is spoilt: a byte is another one, or its end is missing. */
type Lie = { readonly at: number; readonly byte: number } | { readonly cutTo: number };

const KNOWN = [C.RTM_NEWLINK, C.RTM_DELLINK, C.RTM_NEWADDR, C.RTM_DELADDR];

const attribute: fc.Arbitrary<Attribute> = fc.record({
  type: fc.oneof(
    fc.constantFrom(C.IFLA_ADDRESS, C.IFLA_IFNAME, C.IFLA_MASTER, C.IFLA_OPERSTATE, C.IFLA_CARRIER, C.IFA_LOCAL),
    fc.nat(0x3fff),
  ),
  value: fc.oneof(
    fc.uint8Array({ maxLength: 40 }),
    fc.constantFrom("eth1\0", "\u001b[2J\0", "\u202e1hte\0", "a\nb", "ib0\0rest", "").map((text) =>
      new TextEncoder().encode(text)
    ),
  ),
});

const message: fc.Arbitrary<Meant> = fc.oneof(
  { weight: 9, arbitrary: fc.constantFrom(...KNOWN) },
  { weight: 1, arbitrary: fc.nat(0xffff) },
).chain((type) => {
  const size = type === C.RTM_NEWADDR || type === C.RTM_DELADDR ? SIZE.ifaddrmsg : SIZE.ifinfomsg;
  return fc.record({
    type: fc.constant(type),
    // Mostly of the family that is meant, or everything would be passed over.
    body: fc.tuple(fc.boolean(), fc.uint8Array({ minLength: size, maxLength: size })).map(([any, bytes]) => {
      if (!any) bytes[0] = 0;
      return bytes;
    }),
    attributes: fc.array(attribute, { maxLength: 5 }),
  });
});

const lie: fc.Arbitrary<Lie> = fc.oneof(
  fc.record({ at: fc.nat(400), byte: fc.nat(255) }),
  fc.record({ cutTo: fc.nat(400) }),
);

/** The bytes that the kernel would send. */
function encode(messages: readonly Meant[]): Uint8Array {
  const padded = (bytes: Uint8Array) => Buffer.concat([bytes, Buffer.alloc(-bytes.length & 3)]);
  return Buffer.concat(messages.map(({ type, body, attributes }) => {
    const rest = attributes.map((one) => {
      const head = Buffer.alloc(SIZE.rtattr);
      head.writeUInt16LE(SIZE.rtattr + one.value.length, 0);
      head.writeUInt16LE(one.type, 2);
      return padded(Buffer.concat([head, one.value]));
    });
    const payload = Buffer.concat([padded(body), ...rest]);
    const head = Buffer.alloc(SIZE.nlmsghdr);
    head.writeUInt32LE(head.length + payload.length, 0);
    head.writeUInt16LE(type, 4);
    return padded(Buffer.concat([head, payload]));
  }));
}

/** The datagram somewhere in a larger buffer that is full of plausible bytes, as one receive buffer serves them all. */
function inABuffer(bytes: Uint8Array, before: number): Uint8Array {
  const buffer = new Uint8Array(before + bytes.length + 64).fill(0x04);
  buffer.set(bytes, before);
  return buffer.subarray(before, before + bytes.length);
}

type Tally = Record<"link" | "address" | "uevent" | "passed over", number>;

/** What holds for any bytes at all. */
function anyBytes(bytes: Uint8Array, tally: Tally): void {
  const messages = parseMessages(bytes);
  let used = 0;
  for (const one of messages) {
    used += SIZE.nlmsghdr + one.payload.length;
    must(
      one.payload.byteOffset + one.payload.length <= bytes.byteOffset + bytes.length,
      "a payload ends in the datagram",
    );
    const error = parseError(one);
    must(error === null || Number.isInteger(error), "an error is a number");
    let inside = 0;
    for (const [type, value] of parseAttributes(one.payload)) {
      must(type >= 0 && type <= 0xffff, "an attribute's type");
      inside += SIZE.rtattr + value.length;
    }
    must(inside <= one.payload.length, "attributes lie in their payload");
    const route = parseRoute(one);
    if (route === null) {
      tally["passed over"]++;
      continue;
    }
    clean(route, "route");
    tally["flags" in route ? "link" : "address"]++;
  }
  must(used <= bytes.length, "messages do not overlap");
  const table = new LinkTable();
  for (const route of messages.map(parseRoute).filter((one) => one !== null)) {
    const change = table.note(route);
    if (change !== null) sentence(change.detail, "a change", 70_000);
    // The kernel repeats itself all day; the second time is no news unless it is an end.
    if (!route.kind.endsWith("-gone")) equal(table.note(route), null, "a repetition changes nothing");
  }
  const event = parseUevent(bytes);
  if (event === null) return;
  tally.uevent++;
  clean([event.action, event.devpath, event.subsystem, ...event.env.values()], "uevent");
  sentence(describeUevent(event), "a uevent for people", 70_000);
  equal(typeof concernsRdma(event), "boolean");
}

function route(meant: readonly Meant[], lies: readonly Lie[], before: number, tally: Tally): void {
  const whole = encode(meant);
  const parsed = parseMessages(inABuffer(whole, before));
  deepEqual(parsed.map((one) => one.type), meant.map((one) => one.type), "every message is there");
  parsed.forEach((one, i) => {
    const { body, attributes } = meant[i]!;
    const rest = parseAttributes(one.payload.subarray(body.length + (-body.length & 3)));
    const last = new Map(attributes.map(({ type, value }) => [type, value]));
    deepEqual([...rest.keys()].sort(), [...last.keys()].sort(), "every attribute is there");
    for (const [type, value] of last) equal(Buffer.compare(rest.get(type)!, value), 0, `attribute ${type}`);
  });
  anyBytes(inABuffer(whole, before), tally);
  let spoilt: Uint8Array = Uint8Array.from(whole);
  for (const one of lies) {
    if ("cutTo" in one) {
      spoilt = spoilt.subarray(0, one.cutTo);
      const left = parseMessages(spoilt);
      must(left.length <= parsed.length, "a cut datagram has no more messages");
    } else if (one.at < spoilt.length) spoilt[one.at] = one.byte;
  }
  anyBytes(spoilt, tally);
  // The same bytes at another place of the receive buffer are the same messages: nothing is read beyond the datagram.
  deepEqual(parseMessages(inABuffer(spoilt, before)).map(parseRoute), parseMessages(spoilt).map(parseRoute));
}

const uevent = fc.record({
  action: fc.constantFrom("add", "remove", "change", "move", "bind", "libudev", "\u001b[2J", "@"),
  path: fc.oneof(fc.constantFrom("/devices/pci/infiniband/mlx5_0", "/", "x", "/a@b"), fc.string({ unit: "binary" })),
  env: fc.array(
    fc.tuple(
      fc.constantFrom("SUBSYSTEM", "DEVPATH_OLD", "SEQNUM", "", "__proto__"),
      fc.oneof(
        fc.constantFrom("infiniband", "net", "pci", "misc", "auxiliary", "/x/rxe9", "", "a\u2028b", "\u202eteb"),
        fc.string({ unit: "binary" }),
      ),
    ),
    { maxLength: 5 },
  ),
}).map(({ action, path, env }) =>
  new TextEncoder().encode([`${action}@${path}`, ...env.map(([key, value]) => `${key}=${value}`), ""].join("\0"))
);

export const netlink: Target = {
  name: "netlink",
  promise:
    "whole messages are read as they were meant, cut and lying ones never beyond their datagram, a repetition is " +
    "no news, and what is reported of them steers no terminal",
  kinds: ["link", "address", "uevent", "passed over"],
  prepare(): Promise<Prepared> {
    const tally: Tally = { link: 0, address: 0, uevent: 0, "passed over": 0 };
    const cases = fc.oneof(
      fc.record({
        meant: fc.array(message, { maxLength: 4 }),
        lies: fc.array(lie, { minLength: 1, maxLength: 4 }),
        before: fc.nat(7),
      }),
      fc.oneof(uevent, fc.uint8Array({ maxLength: 200 })),
    );
    return Promise.resolve({
      property: fc.property(cases, (one) => {
        if (one instanceof Uint8Array) anyBytes(one, tally);
        else route(one.meant, one.lies, one.before, tally);
      }),
      tally,
      [Symbol.asyncDispose]: () => Promise.resolve(),
    });
  },
};
