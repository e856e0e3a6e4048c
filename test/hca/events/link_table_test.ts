import { deepEqual, equal } from "@std/assert";
import { LinkTable } from "../../../src/hca/events/link_table.ts";
import type { AddressMessage, LinkMessage } from "../../../src/hca/events/netlink_parse.ts";

const UP = 0x1 | 0x40 | 0x10000; // IFF_UP | IFF_RUNNING | IFF_LOWER_UP

const ETH1: LinkMessage = {
  kind: "link",
  index: 5,
  name: "eth1",
  flags: UP,
  isNew: false,
  operstate: 6,
  carrier: true,
  master: null,
  address: "b8599f000102",
};

const ADDRESS: AddressMessage = { kind: "address", index: 5, address: "10.1.2.3/24" };

Deno.test("LinkTable.note() takes the first word about a link for a change, and a deep one", () => {
  deepEqual(new LinkTable().note(ETH1), { depth: "full", detail: "eth1 up" });
  deepEqual(new LinkTable().note({ ...ETH1, isNew: true }), { depth: "full", detail: "eth1 new" });
});

Deno.test("LinkTable.note() says null when nothing that matters changed", () => {
  const table = new LinkTable();
  table.note(ETH1);
  equal(table.note(ETH1), null);
  equal(table.note({ ...ETH1, flags: UP | 0x100 }), null); // IFF_PROMISC
});

Deno.test("LinkTable.note() names the change and how deep to look", () => {
  const cases: readonly [Partial<LinkMessage>, "quick" | "full", string][] = [
    [{ flags: 0, operstate: 2, carrier: false }, "quick", "eth1 down"],
    [{ flags: 1, operstate: 2, carrier: false }, "quick", "eth1 without carrier"],
    [{ flags: UP, operstate: 5 }, "quick", "eth1 coming up"],
    [{ name: "storage0" }, "full", "eth1 renamed to storage0"],
    [{ master: 9 }, "full", "eth1 changed its master"],
    [{ address: "b8599f000103" }, "full", "eth1 changed its hardware address"],
    [{ kind: "link-gone" }, "full", "eth1 gone"],
  ];
  for (const [change, depth, detail] of cases) {
    const table = new LinkTable();
    table.note(ETH1);
    deepEqual(table.note({ ...ETH1, ...change }), { depth, detail });
  }
});

Deno.test("LinkTable.note() calls a link without any operational state up", () => {
  const table = new LinkTable();
  deepEqual(table.note({ ...ETH1, name: "lo", operstate: 0 }), { depth: "full", detail: "lo up" });
});

Deno.test("LinkTable.note() tells an address once, however often the kernel refreshes it", () => {
  const table = new LinkTable();
  table.note(ETH1);
  deepEqual(table.note(ADDRESS), { depth: "full", detail: "eth1 got 10.1.2.3/24" });
  equal(table.note(ADDRESS), null);
  deepEqual(table.note({ ...ADDRESS, kind: "address-gone" }), { depth: "full", detail: "eth1 lost 10.1.2.3/24" });
  deepEqual(table.note(ADDRESS), { depth: "full", detail: "eth1 got 10.1.2.3/24" });
});

Deno.test("LinkTable.note() forgets the addresses of a link that is gone, whose number may be given away again", () => {
  const table = new LinkTable();
  table.note(ETH1);
  table.note(ADDRESS);
  table.note({ ...ETH1, kind: "link-gone" });
  deepEqual(table.note(ADDRESS), { depth: "full", detail: "link 5 got 10.1.2.3/24" });
});

Deno.test("LinkTable.note() reports nothing about an ignored link, but everything once it has another name", () => {
  const table = new LinkTable((name) => name.startsWith("veth"));
  equal(table.note({ ...ETH1, name: "veth1" }), null);
  equal(table.note(ADDRESS), null);
  deepEqual(table.note(ETH1), { depth: "full", detail: "veth1 renamed to eth1" });
  deepEqual(table.note({ ...ETH1, name: "veth1" }), { depth: "full", detail: "eth1 renamed to veth1" });
  equal(table.note({ ...ETH1, name: "veth1", kind: "link-gone" }), null);
});

Deno.test("LinkTable.forget() makes everything news again", () => {
  const table = new LinkTable();
  table.note(ETH1);
  table.note(ADDRESS);
  table.forget();
  deepEqual(table.note(ADDRESS), { depth: "full", detail: "link 5 got 10.1.2.3/24" });
  deepEqual(table.note(ETH1), { depth: "full", detail: "eth1 up" });
});
