import { deepEqual, equal } from "@std/assert";
import { join } from "node:path";
import { networkInterfaces } from "node:os";
import { fileURLToPath } from "node:url";
import { C } from "../../../src/hca/abi.ts";
import { coveredBy, isAnnounced, linkHere, watchedPorts } from "../../../src/hca/events/coverage.ts";
import type { EventSource, WatchedPort } from "../../../src/hca/events/trigger.ts";
import { openLibc } from "../../../src/hca/libc.ts";
import { FakeHost, preset } from "../../../sim/mod.ts";
import { needs } from "../../support/need.ts";
import type { ChildLine } from "../../support/netlink_child.ts";
import { inside, netns } from "../../support/netns.ts";
import { memoryDir } from "../../support/temp.ts";
import { discoveryOn } from "../../support/discovery.ts";

const SCRIPT = fileURLToPath(new URL("../../support/netlink_child.ts", import.meta.url));

/** Ports of a host of that preset, as its sysfs has them. */
async function portsOf(dir: string, name: string) {
  const host = FakeHost.create(join(dir, name), preset(name));
  const { hcas } = await discoveryOn(host).scan("full");
  return { hcas, sysfs: host.sysfsRoot, ports: watchedPorts(hcas, host.sysfsRoot) };
}

Deno.test("linkHere() gives index and hardware address of a link of this namespace, and null for any other", () => {
  using libc = openLibc();
  const fd = libc.socket(C.AF_NETLINK, C.SOCK_RAW | C.SOCK_CLOEXEC, C.NETLINK_ROUTE);
  try {
    equal(linkHere(libc, fd, "no-such-link"), null);
    equal(linkHere(libc, fd, "a-name-that-no-link-can-have"), null);
    for (const [name, addresses] of Object.entries(networkInterfaces())) {
      equal(linkHere(libc, fd, name)?.address, addresses![0]!.mac, name);
    }
    const lo = linkHere(libc, fd, "lo");
    if (lo !== null) deepEqual(lo, { index: 1, address: "00:00:00:00:00:00" });
  } finally {
    libc.close(fd);
  }
});

const LINK = { name: "eth0", index: 2, address: "b8:3f:d2:00:00:01" };
const ROCE: WatchedPort = { linkLayer: "Ethernet", links: [LINK] };

for (
  const [what, port, expected] of [
    ["a RoCE port whose link is here", ROCE, true],
    ["an InfiniBand port, whatever its link", { ...ROCE, linkLayer: "InfiniBand" }, false],
    ["a port of an adapter without link layer", { ...ROCE, linkLayer: "unknown" }, false],
    ["a port without a link", { ...ROCE, links: [] }, false],
    ["a link that is not here", { ...ROCE, links: [{ ...LINK, name: "eth1" }] }, false],
    ["a namesake with another index", { ...ROCE, links: [{ ...LINK, index: 3 }] }, false],
    ["a pod's eth0 with the same index", { ...ROCE, links: [{ ...LINK, address: "02:00:00:00:00:01" }] }, false],
    ["one link of two", { ...ROCE, links: [LINK, { ...LINK, name: "eth1" }] }, false],
    ["a link of which sysfs says nothing", { ...ROCE, links: [{ ...LINK, index: null, address: null }] }, false],
  ] satisfies [string, WatchedPort, boolean][]
) {
  Deno.test(`isAnnounced() says ${expected ? "yes" : "no"} to ${what}`, () => {
    const libc = openLibc();
    const fake = {
      ...libc,
      // One link here, eth0, with index 2.
      ioctl(_: number, request: number, ifreq: Uint8Array) {
        if (new TextDecoder().decode(ifreq.subarray(0, 5)) !== "eth0\0") return -1;
        if (request === C.SIOCGIFINDEX) ifreq.set([2, 0, 0, 0], 16);
        else ifreq.set([1, 0, 0xb8, 0x3f, 0xd2, 0, 0, 1], 16);
        return 0;
      },
    };
    try {
      equal(isAnnounced(port, fake, 3), expected);
    } finally {
      libc[Symbol.dispose]();
    }
  });
}

Deno.test({
  name: "netlinkSource() covers a port whose link is in its network namespace, and none of another's",
  ...needs("root", "netns"),
  async fn() {
    using space = netns();
    space.ip("link add eth7 index 77 address 02:00:00:00:00:07 type veth peer name far7");
    await using child = inside<ChildLine>(space, SCRIPT, {});
    child.say("start");
    await child.next((line) => line.ready === true, "start");
    const covers = async (link: string) => {
      child.say(`covers ${link}`);
      return (await child.next((line) => line.covers !== undefined, link)).covers;
    };
    equal(await covers("eth7,77,02:00:00:00:00:07"), true);
    for (const other of ["eth7,78,02:00:00:00:00:07", "eth7,77,02:00:00:00:00:08", "eth8,77,02:00:00:00:00:07"]) {
      equal(await covers(other), false, other);
    }
  },
});

Deno.test("watchedPorts() has the host's links with index and address", async () => {
  using dir = memoryDir();
  const { ports } = await portsOf(dir.path, "connectx-roce-vfs");
  const [first] = ports;
  equal(first?.linkLayer, "Ethernet");
  equal(first?.links.length, 1);
  equal(typeof first?.links[0]?.index, "number");
  equal(first?.links[0]?.address?.length, 17);
});

Deno.test("coveredBy() needs one source that covers every port; a fake host's links are not this machine's", async () => {
  using dir = memoryDir();
  const { hcas, sysfs, ports } = await portsOf(dir.path, "connectx-roce-vfs");
  const source = (covers?: EventSource["covers"]): EventSource => ({
    name: "test",
    run: () => Promise.resolve(),
    ...covers === undefined ? {} : { covers },
  });
  equal(coveredBy([], hcas, sysfs), false);
  equal(coveredBy([source()], hcas, sysfs), false);
  equal(coveredBy([source(), source((asked) => asked.length === ports.length)], hcas, sysfs), true);
  equal(coveredBy([source((asked) => asked.length === 0)], hcas, sysfs), false);
});
