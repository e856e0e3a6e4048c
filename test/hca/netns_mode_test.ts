import { deepEqual, equal } from "@std/assert";
import { mkdirSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { C } from "../../src/hca/abi.ts";
import type { Libc } from "../../src/hca/libc.ts";
import { parseMessages } from "../../src/hca/events/netlink_parse.ts";
import { parseNetnsReply, readNetnsMode } from "../../src/hca/netns_mode.ts";
import { temporaryDir } from "../support/temp.ts";

/** RDMA_NL_GET_TYPE(RDMA_NL_NLDEV, RDMA_NLDEV_CMD_SYS_GET) = (5 << 10) + 6 = 0x1406, sequence 1. */
const REQUEST = [16, 0, 0, 0, 0x06, 0x14, 1, 0, 1, 0, 0, 0, 0, 0, 0, 0];

/** The same header, 24 bytes long, then RDMA_NLDEV_SYS_ATTR_NETNS_MODE (66): a byte, padded. */
function reply(mode: number): readonly number[] {
  return [24, 0, 0, 0, 0x06, 0x14, 0, 0, 1, 0, 0, 0, 9, 0, 0, 0, 5, 0, 66, 0, mode, 0, 0, 0];
}

/** NLMSG_ERROR (2), 36 bytes long: the negative errno, then the header of the request. */
function error(errno: number): readonly number[] {
  return [36, 0, 0, 0, 2, 0, 0, 0, 1, 0, 0, 0, 9, 0, 0, 0, 256 - errno, 255, 255, 255, ...REQUEST];
}

/** A sysfs tree whose ib_core has this for a parameter; null for a machine without the module. */
function tree(parameter: string | null) {
  const dir = temporaryDir();
  if (parameter !== null) {
    mkdirSync(join(dir.path, "module/ib_core/parameters"), { recursive: true });
    writeFileSync(join(dir.path, "module/ib_core/parameters/netns_mode"), parameter);
  }
  return dir;
}

/** A libc whose kernel gives this answer to the first message. */
function answering(answer: readonly number[], replaced: Partial<Libc> = {}) {
  const sent: number[][] = [];
  const closed: number[] = [];
  const libc: Libc = {
    socket: (_domain, _type, protocol) => protocol === C.NETLINK_RDMA ? 7 : -1,
    bind: () => 0,
    setsockopt: () => 0,
    sendto: (_fd, message) => sent.push([...message]) * 16,
    recvfrom: (_fd, into) => (into.set(answer), answer.length),
    poll: () => 1,
    pollWaiting: () => Promise.reject(new Error("must not wait on another thread")),
    eventfd: () => -1,
    write: () => -1,
    ioctl: () => -1,
    close: (fd) => closed.push(fd) * 0,
    errno: () => 0,
    [Symbol.dispose]: () => void closed.push(-1),
    ...replaced,
  };
  return { open: () => libc, sent, closed };
}

Deno.test("readNetnsMode() asks the kernel and believes it before the file", () => {
  using sysfs = tree("Y\n");
  const kernel = answering(reply(0));
  equal(readNetnsMode(sysfs.path, { libc: kernel.open }), "exclusive");
  deepEqual(kernel.sent, [REQUEST]);
  deepEqual(kernel.closed, [7, -1]);
});

Deno.test("readNetnsMode() reads the parameter of ib_core when the kernel has no RDMA netlink", () => {
  for (
    const [text, mode] of [["Y\n", "shared"], ["1\n", "shared"], ["N\n", "exclusive"], ["0\n", "exclusive"]] as const
  ) {
    using sysfs = tree(text);
    equal(readNetnsMode(sysfs.path, { libc: answering([], { socket: () => -1 }).open }), mode);
  }
});

Deno.test("readNetnsMode() reads the file when sending, waiting or receiving fails, and closes the socket", () => {
  using sysfs = tree("N\n");
  const failures: readonly Partial<Libc>[] = [
    { sendto: () => -1 },
    { poll: () => 0 },
    { recvfrom: () => -1 },
  ];
  for (const failure of failures) {
    const kernel = answering(reply(1), failure);
    equal(readNetnsMode(sysfs.path, { libc: kernel.open }), "exclusive");
    deepEqual(kernel.closed, [7, -1]);
  }
});

Deno.test("readNetnsMode() reads the file when there is no FFI", () => {
  using sysfs = tree("N\n");
  const libc = () => {
    throw new Error("no FFI");
  };
  equal(readNetnsMode(sysfs.path, { libc }), "exclusive");
});

Deno.test("readNetnsMode() does not ask the kernel about a tree that is not the kernel's", () => {
  using sysfs = tree("N\n");
  const kernel = answering(reply(1));
  equal(readNetnsMode(sysfs.path, { fake: true, libc: kernel.open }), "exclusive");
  deepEqual(kernel.sent, []);
});

Deno.test("readNetnsMode() says unknown when neither kernel nor file speak, or the file is torn", () => {
  for (const text of [null, "", "maybe\n"]) {
    using sysfs = tree(text);
    equal(readNetnsMode(sysfs.path, { fake: true }), "unknown");
  }
});

Deno.test("readNetnsMode() gives one of its three words on this machine, whatever that has", () => {
  equal(["shared", "exclusive", "unknown"].includes(readNetnsMode("/sys")), true);
});

Deno.test("parseNetnsReply() reads both modes, and EINVAL of a kernel before the command as shared", () => {
  const parse = (bytes: readonly number[]) => parseNetnsReply(parseMessages(Uint8Array.from(bytes)));
  equal(parse(reply(1)), "shared");
  equal(parse(reply(0)), "exclusive");
  equal(parse(error(22)), "shared"); // EINVAL
  equal(parse(error(1)), null); // EPERM
  equal(parse([]), null);
  equal(parse(reply(0).slice(0, 20)), null); // torn
  equal(parse([...REQUEST.slice(0, 6), 0, ...REQUEST.slice(7)]), null); // no attribute
});
