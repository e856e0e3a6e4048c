import { deepEqual, equal, match } from "@std/assert";
import { glob, mismatch } from "../../src/pool/match.ts";
import { select } from "../../src/pool/select.ts";
import { hca, pci, port, snapshot, spec } from "../support/hcas.ts";

const vf = (n: number, index: number) =>
  hca(n, {
    kind: "vf",
    pci: pci(`0000:3b:00.${index + 2}`, { physfn: "0000:3b:00.0", vfIndex: index, pfNetdevs: ["ens1"] }),
  });

Deno.test("select() gives every HCA to a resource without selectors", () => {
  const { pools, leftOut } = select([spec()], snapshot([hca(0), hca(1)]));
  deepEqual(pools[0]!.members.map((member) => member.id), ["mlx5_0", "mlx5_1"]);
  deepEqual(leftOut, []);
});

Deno.test("mismatch() needs every condition and any value of each", () => {
  equal(mismatch({ vendors: ["15b3", "8086"], linkLayers: ["Ethernet"] }, hca(0)), null);
  match(mismatch({ vendors: ["15b3"], linkLayers: ["InfiniBand"] }, hca(0))!, /link layer is Ethernet/);
  match(mismatch({ vendors: ["8086"] }, hca(0))!, /vendor is 15b3, wanted: 8086/);
});

Deno.test("mismatch() knows each selector", () => {
  const yes = [
    { hcas: ["mlx5_*"] },
    { vendors: ["15b3"] },
    { devices: ["1017"] },
    { drivers: ["mlx5_core"] },
    { drivers: ["mlx5_ib"] },
    { pciAddresses: ["0000:03:*"] },
    { netdevs: ["eth?"] },
    { pfs: [{ pf: "eth3", vfs: null }] },
    { linkLayers: ["Ethernet"] },
    { transports: ["RoCE"] },
    { numaNodes: [0, 1] },
    { kinds: ["pf"] },
    { minRateGbps: 100 },
    { pkeys: ["0xFFFF"] },
    { pfWithVfs: false },
  ] as const;
  const no = [
    { hcas: ["mlx5_30"] },
    { vendors: ["8086"] },
    { devices: ["1018"] },
    { drivers: ["bnxt_re"] },
    { pciAddresses: ["0000:04:*"] },
    { netdevs: ["eth"] },
    { pfs: [{ pf: "eth3", vfs: [0] }] },
    { masters: ["eth3"] },
    { linkLayers: ["InfiniBand"] },
    { transports: ["IB"] },
    { numaNodes: [1] },
    { kinds: ["vf", "sf"] },
    { minRateGbps: 200 },
    { pkeys: ["0x8001"] },
    { pfWithVfs: true },
  ] as const;
  for (const selector of yes) equal(mismatch(selector, hca(3)), null, JSON.stringify(selector));
  for (const selector of no) equal(typeof mismatch(selector, hca(3)), "string", JSON.stringify(selector));
});

Deno.test("select() takes VFs by master, by PF range and by the PF's address", () => {
  const host = snapshot([hca(0), vf(1, 0), vf(2, 1), vf(3, 2)]);
  const ids = (selector: object) => select([spec({ select: [selector] })], host).pools[0]!.members.map((one) => one.id);
  deepEqual(ids({ masters: ["ens1"] }), ["mlx5_1", "mlx5_2", "mlx5_3"]);
  deepEqual(ids({ pfs: [{ pf: "ens1", vfs: [1, 2] }] }), ["mlx5_2", "mlx5_3"]);
  deepEqual(ids({ pfs: [{ pf: "0000:3b:00.0", vfs: [0] }] }), ["mlx5_1"]);
});

Deno.test("select() leaves a twice-claimed HCA with the first resource and says so", () => {
  const first = spec({ name: "a/one", select: [{ hcas: ["mlx5_0"] }] });
  const { pools, leftOut } = select([first, spec({ name: "a/two" })], snapshot([hca(0), hca(1)]));
  deepEqual(pools.map((pool) => pool.members.map((member) => member.id)), [["mlx5_0"], ["mlx5_1"]]);
  match(leftOut.find((one) => one.resource === "a/two")!.reason, /^it belongs to a\/one;/);
});

Deno.test("select() lets shared resources overlap only when both say so", () => {
  const shared = (name: string, overlap: boolean) =>
    spec({ name, overlap, mode: { kind: "shared", shares: 2, of: "all" } });
  const sizes = (a: boolean, b: boolean) =>
    select([shared("a/one", a), shared("a/two", b)], snapshot([hca(0)])).pools.map((pool) => pool.members.length);
  deepEqual(sizes(true, true), [1, 1]);
  deepEqual(sizes(true, false), [1, 0]);
  deepEqual(sizes(false, true), [1, 0]);
});

Deno.test("select() excludes, and a reason from several selectors names each", () => {
  const excluded = select([spec({ exclude: [{ hcas: ["mlx5_0"] }] })], snapshot([hca(0), hca(1)]));
  deepEqual(excluded.leftOut.map((one) => `${one.hca}: ${one.reason}`), ["mlx5_0: it is excluded: hcas: mlx5_0"]);
  const withVfs = hca(0, { pci: pci("0000:3b:00.0", { sriovNumVfs: 4 }) });
  const { leftOut } = select([spec({ exclude: [{ pfWithVfs: true }] })], snapshot([withVfs]));
  deepEqual(leftOut.map((one) => one.reason), ["it is excluded: a PF that has VFs"]);
  const two = select([spec({ select: [{ vendors: ["8086"] }, { kinds: ["vf"] }] })], snapshot([hca(0)]));
  match(two.leftOut[0]!.reason, /none of 2 selectors matches: its vendor is 15b3.*its kind is pf/);
});

Deno.test("select() by PCI address makes one member of a function's RDMA devices", () => {
  const at = pci("0000:3b:00.0");
  const host = snapshot([hca(0, { pci: at }), hca(1, { pci: at }), hca(2, { pci: null, kind: "virtual" })]);
  const { pools } = select([spec({ ids: "pci" })], host);
  deepEqual(pools[0]!.members.map(({ id, hcas }) => [id, hcas.length]), [["0000:3b:00.0", 2], ["mlx5_2", 1]]);
});

Deno.test("mismatch() wants one port for which link layer, transport, rate and net device hold together", () => {
  const ib = port(1, { linkLayer: "InfiniBand", rateGbps: 10, netdevs: ["ib0"] });
  const dual = hca(0, { ports: [ib, port(2, { rateGbps: 40, netdevs: ["eth0"] })], netdevs: ["eth0", "ib0"] });
  equal(mismatch({ minRateGbps: 40, linkLayers: ["Ethernet"], netdevs: ["eth0"], transports: ["RoCE"] }, dual), null);
  match(mismatch({ minRateGbps: 40, linkLayers: ["InfiniBand"] }, dual)!, /its rate is 10 Gb\/s/);
  match(mismatch({ netdevs: ["ib0"], linkLayers: ["Ethernet"] }, dual)!, /its link layer is InfiniBand/);
  equal(mismatch({ netdevs: ["ib0"], transports: ["IB"] }, dual), null);
});

Deno.test("glob() matches whole names and never backtracks for ever", () => {
  equal(glob("mlx5_*", "mlx5_10"), true);
  equal(glob("mlx5_1", "mlx5_10"), false);
  equal(glob("*a*a*a*a*a*a*a*a*b", "a".repeat(5000)), false);
});
