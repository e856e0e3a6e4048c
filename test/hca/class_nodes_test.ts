import { deepEqual, equal } from "@std/assert";
import { rmSync } from "node:fs";
import { FakeHost } from "../../sim/mod.ts";
import { isCompanion, lackingClass, readClassNodes, refreshClassNodes } from "../../src/hca/class_nodes.ts";
import type { HcaKind } from "../../src/hca/types.ts";
import { addClassDevice, addHfis, addNode, OMNI_PATH, removeNode } from "../support/class_nodes.ts";

const FIRST = "0000:3d:00.0";
const SECOND = "0000:af:00.0";

/** Paths of an HCA's nodes, with a mark for companions. */
function nodes(host: FakeHost, name: string, address: string, kind: HcaKind = "pf") {
  return readClassNodes(host.sysfsRoot, host.devRoot, { name, kind, pci: { address, driver: "hfi1" } })
    .map((node) => `${isCompanion(node) ? "+" : ""}${node.path}${node.present ? "" : " missing"}`);
}

function onHost(check: (host: FakeHost) => void): void {
  const host = FakeHost.create(FakeHost.temporaryRoot(), OMNI_PATH);
  try {
    check(host);
  } finally {
    host.close();
  }
}

Deno.test("readClassNodes() finds an HCA's companion by its parent, whatever its number, and never a neighbour's", () =>
  onHost((host) => {
    addHfis(host);
    deepEqual(nodes(host, "hfi1_0", FIRST), ["+/dev/hfi1_1"]);
    deepEqual(nodes(host, "hfi1_1", SECOND), ["+/dev/hfi1_0"]);
    deepEqual(nodes(host, "hfi1_2", FIRST, "sf"), [], "the PF's node is not a sub-function's");
    deepEqual(nodes(host, "rxe0", FIRST, "virtual"), [], "nor software's");
  }));

Deno.test("readClassNodes() takes a class device without a parent by the HCA's name", () =>
  onHost((host) => {
    for (const n of [0, 1]) {
      addClassDevice(host, { class: "hfi1_user", name: `hfi1_${n}`, parent: null, dev: `243:${n}` });
    }
    addClassDevice(host, { class: "hfi1", name: "hfi1_diagpkt", parent: null, dev: "243:9" });
    deepEqual(nodes(host, "hfi1_0", FIRST), ["+/dev/hfi1_0"]);
    deepEqual(nodes(host, "hfi1_1", SECOND), ["+/dev/hfi1_1"]);
    deepEqual(nodes(host, "opap175s0", SECOND), [], "a renamed HCA cannot be told from another");
  }));

Deno.test("readClassNodes() goes by the uevent's DEVNAME, knows cxi once, and reports other classes apart", () =>
  onHost((host) => {
    addClassDevice(host, { class: "cxi_user", name: "cxi3", parent: FIRST, dev: "240:3", devname: "hpe/cxi3" });
    addClassDevice(host, { class: "cxi", name: "cxi4", parent: SECOND, dev: "" });
    addClassDevice(host, { class: "cxi_user", name: "cxi4", parent: SECOND, dev: "240:4" });
    addClassDevice(host, { class: "ptp", name: "ptp7", parent: FIRST, dev: "248:7" });
    addClassDevice(host, { class: "hwmon", name: "hwmon2", parent: FIRST, dev: "" });
    deepEqual(nodes(host, "hsi0", FIRST), ["+/dev/hpe/cxi3", "/dev/ptp7"]);
    deepEqual(nodes(host, "hsi1", SECOND), ["+/dev/cxi4"]);
  }));

Deno.test("a DEVNAME that leads out of /dev is not followed", () =>
  onHost((host) => {
    addClassDevice(host, { class: "hfi1_user", name: "hfi1_0", parent: FIRST, dev: "243:0", devname: "hfi1_0" });
    Deno.writeTextFileSync(`${host.sysfsRoot}/class/hfi1_user/hfi1_0/uevent`, "DEVNAME=../etc/shadow\n");
    deepEqual(nodes(host, "hfi1_0", FIRST), ["+/dev/hfi1_0"]);
  }));

Deno.test("refreshClassNodes() follows /dev, and gives the same list while nothing differs", () =>
  onHost((host) => {
    addHfis(host);
    const hca = { name: "hfi1_0", kind: "pf" as const, pci: { address: FIRST, driver: "hfi1" } };
    const first = readClassNodes(host.sysfsRoot, host.devRoot, hca);
    const now = () => refreshClassNodes(host.sysfsRoot, host.devRoot, { ...hca, classNodes: first });
    deepEqual(now() === first, true);
    removeNode(host, "hfi1_1");
    deepEqual(now().map((node) => node.present), [false]);
    addNode(host, "hfi1_1");
    deepEqual(now() === first, true);
    rmSync(`${host.sysfsRoot}/bus/pci/devices/${FIRST}/hfi1_user/hfi1_1`, { recursive: true });
    deepEqual(now(), [], "what is not below the function any more is not its own");
  }));

Deno.test("lackingClass() names the class that a driver is bound to register", () => {
  const pci = (driver: string) => ({ address: FIRST, driver });
  equal(lackingClass({ pci: pci("hfi1"), classNodes: [] }), "hfi1_user");
  equal(lackingClass({ pci: pci("cxi_ss1"), classNodes: [] }), "cxi_user");
  equal(lackingClass({ pci: pci("mlx5_core"), classNodes: [] }), null);
});
