import { deepEqual, equal, match, ok, rejects } from "@std/assert";
import { fileURLToPath } from "node:url";
import { C } from "../../../src/hca/abi.ts";
import type { Libc } from "../../../src/hca/libc.ts";
import { netlinkSource } from "../../../src/hca/events/netlink.ts";
import type { Trigger } from "../../../src/hca/events/trigger.ts";
import { needs } from "../../support/need.ts";
import type { ChildLine } from "../../support/netlink_child.ts";
import { type Inside, inside, type Netns, netns, POWERLESS } from "../../support/netns.ts";

const SCRIPT = fileURLToPath(new URL("../../support/netlink_child.ts", import.meta.url));

async function listening(
  space: Netns,
  options: object = {},
  wrapper: readonly string[] = [],
): Promise<Inside<ChildLine>> {
  const child = inside<ChildLine>(space, SCRIPT, options, wrapper);
  child.say("start");
  await child.next((line) => line.ready === true, "start");
  return child;
}

/** Waits for a trigger whose detail is exactly this. */
async function trigger(child: Inside<ChildLine>, source: string, detail: string): Promise<Trigger> {
  const line = await child.next((line) => line.trigger?.source === source && line.trigger.detail === detail, detail);
  return line.trigger!;
}

/** A test in a network namespace of its own. */
function withSpace(name: string, fn: (space: Netns) => Promise<void>): void {
  Deno.test({
    name,
    ...needs("root", "netns"),
    async fn() {
      using space = netns();
      await fn(space);
    },
  });
}

/** The same, with a source that listens in it. */
function withChild(name: string, fn: (space: Netns, child: Inside<ChildLine>) => Promise<void>): void {
  withSpace(name, async (space) => {
    await using child = await listening(space);
    await fn(space, child);
  });
}

withChild("netlinkSource() tells of links that come, change, are renamed and go", async (space, child) => {
  space.ip("link add v0 type veth peer name v1");
  const { depth, urgency, settle } = await trigger(child, "link", "v0 new");
  deepEqual({ depth, urgency, settle }, { depth: "full", urgency: "collect", settle: true });
  space.ip("link set v1 up");
  space.ip("link set v0 up");
  equal((await trigger(child, "link", "v0 up")).depth, "quick");
  space.ip("link set v1 down");
  equal((await trigger(child, "link", "v0 without carrier")).depth, "quick");
  space.ip("link set v0 down");
  equal((await trigger(child, "link", "v0 down")).depth, "quick");
  space.ip("link set v0 name storage0");
  equal((await trigger(child, "link", "v0 renamed to storage0")).depth, "full");
  space.ip("addr add 10.1.2.3/24 dev storage0");
  equal((await trigger(child, "link", "storage0 got 10.1.2.3/24")).depth, "full");
  space.ip("addr del 10.1.2.3/24 dev storage0");
  equal((await trigger(child, "link", "storage0 lost 10.1.2.3/24")).depth, "full");
  space.ip("link del storage0");
  equal((await trigger(child, "link", "storage0 gone")).depth, "full");
});

withChild("netlinkSource() tells of uevents, with both names when an object is renamed", async (space, child) => {
  space.ip("link add v0 type veth peer name v1");
  equal((await trigger(child, "uevent", "add v0 (net)")).depth, "full");
  space.ip("link set v0 name storage0");
  await trigger(child, "uevent", "move v0 to storage0 (net)");
  space.sh("echo change > /sys/class/net/storage0/uevent");
  await trigger(child, "uevent", "change storage0 (net)");
  space.ip("link del storage0");
  await trigger(child, "uevent", "remove storage0 (net)");
});

withSpace("netlinkSource() needs no capability for either socket", async (space) => {
  await using child = await listening(space, {}, POWERLESS);
  child.say("count");
  const { capabilities } = await child.next((line) => line.capabilities !== undefined, "count");
  equal(capabilities, "0000000000000000");
  space.ip("link add v0 type veth peer name v1");
  // The kernel speaks on each socket in its own time; nothing says which is read first.
  const told = new Set<string>();
  while (told.size < 2) {
    const { trigger } = await child.next(
      (line) => /^(add v0 \(net\)|v0 new)$/.test(line.trigger?.detail ?? ""),
      "v0",
    );
    told.add(trigger!.source);
  }
  deepEqual(told, new Set(["uevent", "link"]));
});

withChild("netlinkSource() does not believe a process that speaks in the kernel's place", async (space, child) => {
  child.say("spoof");
  const { spoofed } = await child.next((line) => line.spoofed !== undefined, "spoof");
  ok(spoofed! > 0, "the message was not even sent");
  space.ip("link add v0 type veth peer name v1");
  const { trigger: first } = await child.next((line) => line.trigger?.source === "uevent", "a uevent of the kernel");
  match(first!.detail, /^add v[01] \(net\)$/);
});

withSpace("netlinkSource() says nothing when a message changes nothing", async (space) => {
  space.ip("link add v0 type veth peer name v1");
  // No address comes later by itself.
  for (const link of ["v0", "v1"]) space.ip(`link set ${link} addrgenmode none`);
  space.ip("link set v1 up");
  space.ip("link set v0 up");
  await using child = await listening(space);
  space.ip("link set v0 alias one"); // the first word about a link always counts
  await trigger(child, "link", "v0 up");
  space.ip("link set v0 alias two");
  space.ip("link set v0 promisc on");
  space.ip("addr add 10.1.2.3/24 dev v0");
  const { trigger: next } = await child.next((line) => line.trigger !== undefined, "the next trigger");
  equal(next?.detail, "v0 got 10.1.2.3/24");
});

withSpace("netlinkSource() has everything scanned when the kernel had to drop messages", async (space) => {
  space.ip("link add v0 type veth peer name v1");
  await using child = await listening(space, { receiveBuffer: 16_384 });
  child.say("flood v0");
  const { trigger } = await child.next((line) => line.trigger?.source === "overrun", "overrun");
  equal(trigger?.depth, "full");
  // and it goes on hearing
  space.ip("link add v2 type veth peer name v3");
  await child.next((line) => line.trigger?.detail === "v2 new", "v2 new");
});

/** What the child counts once it is as wanted; what it counted last when that does not come. */
async function counted(child: Inside<ChildLine>, wanted: (line: ChildLine) => boolean): Promise<ChildLine> {
  const deadline = performance.now() + 60_000;
  for (;;) {
    child.say("count");
    const line = await child.next((line) => line.pollers !== undefined, "count");
    if (wanted(line) || performance.now() > deadline) return line;
  }
}

withSpace(
  "netlinkSource() sleeps on one thread, leaves file reads alone, and gives everything back when aborted",
  async (space) => {
    await using child = inside<ChildLine>(space, SCRIPT);
    child.say("start");
    const before = await child.next((line) => line.ready === true, "start");
    // the eventfd and two sockets; the thread may be on its way into poll()
    const { fds, pollers } = await counted(child, (line) => line.pollers !== 0);
    deepEqual({ fds, pollers }, { fds: before.fds! + 3, pollers: 1 });
    child.say("files");
    const { files } = await child.next((line) => line.files !== undefined, "files");
    equal(files?.length, 200);
    ok(files.every((bytes) => bytes > 0));
    child.say("abort");
    const end = await child.next((line) => line.ended !== undefined, "end");
    deepEqual(end, { ended: "resolved", fds: before.fds! });
    equal(await child.exit(), 0);
  },
);

/** A libc without a kernel: calls succeed unless they are replaced, and nothing ever arrives. */
function fakeLibc(replaced: Partial<Libc>, closed: number[] = []): () => Libc {
  let next = 100;
  return () => ({
    socket: () => next++,
    bind: () => 0,
    setsockopt: () => 0,
    sendto: () => 0,
    recvfrom: () => -1,
    poll: () => 0,
    pollWaiting: () => Promise.resolve(1),
    eventfd: () => next++,
    write: () => 8,
    close: (fd) => closed.push(fd) * 0,
    ioctl: () => -1,
    errno: () => C.EAGAIN,
    [Symbol.dispose]: () => void closed.push(-1),
    ...replaced,
  });
}

const EPERM = 1;

Deno.test("netlinkSource() works on with one socket and says what the other would have told", async () => {
  const problems: string[] = [];
  const abort = new AbortController();
  let sockets = 0;
  let errno: number = EPERM;
  const libc = fakeLibc({
    socket: (_domain, _type, protocol) => protocol === C.NETLINK_ROUTE ? -1 : 100 + sockets++,
    errno: () => errno,
    pollWaiting() {
      errno = C.EAGAIN;
      abort.abort();
      return Promise.resolve(1);
    },
  });
  const onProblem = (sentence: string) => void problems.push(sentence);
  await netlinkSource({ libc, onProblem }).run(() => {}, abort.signal);
  equal(problems.length, 1);
  match(problems[0]!, /link.*EPERM/);
});

Deno.test("netlinkSource() rejects with both reasons when neither socket can be had, and closes what it opened", async () => {
  const closed: number[] = [];
  const libc = fakeLibc({ bind: () => -1, errno: () => EPERM }, closed);
  await rejects(netlinkSource({ libc }).run(() => {}, new AbortController().signal), /uevent.*EPERM.*link.*EPERM/);
  deepEqual(closed, [100, 101, -1]);
});

Deno.test("netlinkSource() rejects with the name of the error when a socket cannot be read any more", async () => {
  const closed: number[] = [];
  const libc = fakeLibc({ errno: () => 12 }, closed);
  await rejects(netlinkSource({ libc }).run(() => {}, new AbortController().signal), /uevent.*ENOMEM/);
  equal(closed.at(-1), -1);
  deepEqual(closed.slice(0, -1).toSorted(), [100, 101, 102]);
});

Deno.test("netlinkSource() does not believe messages that others than the kernel send", async () => {
  const uevent = new TextEncoder().encode("remove@/devices/x/infiniband/mlx5_0\0SUBSYSTEM=infiniband\0");
  const senders = [4711, 0];
  const abort = new AbortController();
  const libc = fakeLibc({
    recvfrom(_fd, into, _flags, from) {
      const sender = senders.shift();
      if (sender === undefined) return abort.abort(), -1;
      new DataView(from.buffer).setUint32(4, sender, true);
      into.set(uevent);
      return uevent.byteLength;
    },
  });
  const seen: Trigger[] = [];
  await netlinkSource({ libc }).run((trigger) => void seen.push(trigger), abort.signal);
  deepEqual(seen.map(({ at: _, ...asked }) => asked), [
    { source: "uevent", detail: "remove mlx5_0 (infiniband)", depth: "full", urgency: "collect", settle: false },
  ]);
});

Deno.test("netlinkSource() counts a message that did not fit as lost", async () => {
  const abort = new AbortController();
  const lengths = [1 << 20];
  const libc = fakeLibc({
    recvfrom: () => lengths.shift() ?? (abort.abort(), -1),
  });
  const seen: Trigger[] = [];
  await netlinkSource({ libc }).run((trigger) => void seen.push(trigger), abort.signal);
  deepEqual(seen.map(({ source, depth, urgency }) => ({ source, depth, urgency })), [
    { source: "overrun", depth: "full", urgency: "collect" },
  ]);
});

Deno.test("netlinkSource() asks for a scan after an overrun only when the queue is empty, and forgets what was queued", async () => {
  // RTM_NEWLINK of link 5, which is up, in a datagram without attributes
  const up = new Uint8Array(32);
  up.set([32, 0, 0, 0, C.RTM_NEWLINK]);
  up.set([5, 0, 0, 0, 1], 20);
  // Between the overrun and the end of the queue the kernel drops messages without a word, so the third message is
  // news, although it says what the second said: in between the link may have been down.
  const arrivals: readonly (Uint8Array | number)[] = [C.ENOBUFS, up, C.EAGAIN, up, C.EAGAIN];
  const abort = new AbortController();
  let next = 0;
  const libc = fakeLibc({
    // the first socket is that of uevents, which has nothing to say
    recvfrom(fd, into) {
      const arrival = fd === 101 ? arrivals[next++] : C.EAGAIN;
      if (next === arrivals.length) abort.abort();
      if (!(arrival instanceof Uint8Array)) return -1;
      into.set(arrival);
      return arrival.byteLength;
    },
    errno() {
      const last = arrivals[next - 1];
      return typeof last === "number" ? last : C.EAGAIN;
    },
  });
  const seen: string[] = [];
  await netlinkSource({ libc }).run(({ source, detail }) => void seen.push(`${source}: ${detail}`), abort.signal);
  deepEqual(seen, [
    "link: link 5 without carrier",
    "overrun: link messages were lost: the kernel's buffer overflowed",
    "link: link 5 without carrier",
  ]);
});

Deno.test("netlinkSource() ends without waiting, and closes what it opened, when it was aborted before it started", async () => {
  const closed: number[] = [];
  const libc = fakeLibc({ pollWaiting: () => Promise.reject(new Error("must not wait")) }, closed);
  await netlinkSource({ libc }).run(() => {}, AbortSignal.abort());
  deepEqual(closed.toSorted((a, b) => a - b), [-1, 100, 101, 102]);
});
