/**
 * What a plugin and its commands take from the kubelet's checkpoint, and nothing that is not in it.
 *
 * @module
 */
import { deepEqual, equal, throws } from "@std/assert";
import { mkdirSync, rmSync } from "node:fs";
import { join } from "node:path";
import { inspect } from "../../src/agent/inventory.ts";
import { checkMaster } from "../../src/cli/machine.ts";
import { devices } from "../../src/pool/devices.ts";
import { select } from "../../src/pool/select.ts";
import { hca, pci, port, snapshot, spec } from "../support/hcas.ts";
import { memoryDir } from "../support/temp.ts";
import { buildHost, readPlan } from "./build.ts";

Deno.test("shares that pods hold in exclusive mode are devices once, and not shares of shares", () => {
  const one = spec({ name: "rdma/s", mode: { kind: "shared", shares: 4, of: "one" } });
  const ids = new Map([["rdma/s", new Set(["mlx5_0::0", "mlx5_1::3"])]]);
  const record = { held: () => ids, former: () => ids };
  const inventory = inspect(snapshot([hca(0)], { netnsMode: "exclusive" }), [one], record);
  const list = devices(inventory.states.get("rdma/s")!).map((device) => device.id);
  deepEqual(list, ["mlx5_0", "mlx5_1"].flatMap((name) => [0, 1, 2, 3].map((share) => `${name}::${share}`)));
});

Deno.test("a former member stays while only an unknown fact speaks against it, and leaves for a known one", () => {
  const away = { ports: [port(1, { netdevAway: true })], netdevs: [] };
  const vf = pci("0000:3b:00.2", { physfn: "0000:3b:00.0", vfIndex: 1, pfNetdevs: [] });
  const cases: [string, Parameters<typeof hca>[1], Parameters<typeof spec>[0], boolean][] = [
    ["net device", away, { select: [{ netdevs: ["eth0"] }] }, true],
    ["PF", away, { select: [{ pfs: [{ pf: "eth0", vfs: null }] }] }, true],
    ["master", { pci: vf, kind: "vf" }, { select: [{ masters: ["ens1f0"] }] }, true],
    ["VF of a PF", { pci: vf, kind: "vf" }, { select: [{ pfs: [{ pf: "ens1f0", vfs: [1] }] }] }, true],
    ["vendor", { pci: pci("0000:00:00.0", { vendor: null }) }, { select: [{ vendors: ["15b3"] }] }, true],
    ["driver", { pci: pci("0000:00:00.0", { driver: null }) }, { select: [{ drivers: ["mlx5_core"] }] }, true],
    ["link layer", { ports: [port(1, { linkLayer: "unknown", transport: "unknown" })] }, {
      select: [{ linkLayers: ["InfiniBand"] }],
    }, true],
    ["rate", { ports: [port(1, { state: "DOWN", rateGbps: 10 })] }, { select: [{ minRateGbps: 100 }] }, true],
    ["slow", { ports: [port(1, { rateGbps: 10 })] }, { select: [{ minRateGbps: 100 }] }, false],
    ["another name", {}, { select: [{ netdevs: ["eth7"] }] }, false],
    ["another vendor", {}, { select: [{ vendors: ["8086"] }] }, false],
    ["another link layer", {}, { select: [{ linkLayers: ["InfiniBand"] }] }, false],
    ["EFA", { ports: [port(1, { linkLayer: "unknown", transport: "EFA" })] }, {
      select: [{ linkLayers: ["Ethernet"] }],
    }, false],
  ];
  for (const [what, over, wanted, stays] of cases) {
    const one = spec(wanted);
    const host = snapshot([hca(0, over)]);
    const membersOf = (kept: ReadonlyMap<string, ReadonlySet<string>>) =>
      select([one], host, kept).pools[0]!.members.length;
    equal(membersOf(new Map()), 0, `${what}: nobody becomes a member by what is unknown`);
    equal(membersOf(new Map([[one.name, new Set(["mlx5_0"])]])), stays ? 1 : 0, what);
  }
});

Deno.test("--master may name an interface that is in a pod when its resource had devices before", () => {
  using dir = memoryDir();
  const { sysfs } = buildHost(readPlan("8/host.json"), join(dir.path, "host"));
  checkMaster(sysfs, "ens1f0", false);
  rmSync(join(sysfs, "class/net/ens1f0"));
  throws(() => checkMaster(sysfs, "ens1f0", false), /\[no-such-interface\]/);
  checkMaster(sysfs, "ens1f0", true);
  mkdirSync(join(sysfs, "class/net/br0"));
  throws(() => checkMaster(sysfs, "br0", true), /\[no-vfs\]/);
});
