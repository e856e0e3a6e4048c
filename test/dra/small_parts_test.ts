import { deepEqual, equal, ok } from "@std/assert";
import { FlapMemory, holdMs } from "../../src/dra/flaps.ts";
import { healthList } from "../../src/dra/health.ts";
import { heldHcas } from "../../src/dra/holders.ts";
import { draDevices } from "../../src/dra/devices.ts";
import { parseRdmaConfig } from "../../src/dra/rdma_config.ts";
import { claim, ClaimNode, POOL, result } from "../support/claims.ts";
import { draSpec } from "../support/dra.ts";
import { after, hca, pci, port, spec } from "../support/hcas.ts";

const HOLDER = { namespace: "default", pod: "s1", container: "main" };
const held = (resource: string, ...ids: string[]) => new Map([[resource, new Map(ids.map((id) => [id, [HOLDER]]))]]);

Deno.test("heldHcas() reads IDs of known resources by their rules, and of others by name, PCI address or share", () => {
  const hcas = [hca(0), hca(1), hca(2, { kind: "sf", sfNumber: 7, pci: pci("0000:00:00.0") })];
  const shared = spec({ name: "x/all", mode: { kind: "shared", shares: 3, of: "all" } });
  const known = after(new Map(), [shared], hcas, 0).states;
  const by = (holders: Parameters<typeof heldHcas>[0], states = known) =>
    [...heldHcas(holders, states, hcas).keys()].sort();
  deepEqual(by(held("x/all", "2")), ["mlx5_0", "mlx5_1", "mlx5_2"]);
  deepEqual(by(held("old/name", "mlx5_1")), ["mlx5_1"]);
  deepEqual(by(held("old/shares", "mlx5_1::3")), ["mlx5_1"]);
  // Another plugin's: its PCI address is this function's, and no sub-function's of it.
  deepEqual(by(held("intel.com/sriov", "0000:00:00.0")), ["mlx5_0"]);
  deepEqual(by(held("gpu.example/gpu", "0", "GPU-1234")), []);
  // The same name as a resource that is offered through DRA now: it was a pool that was shared as a whole.
  const dra = after(new Map(), [draSpec({ name: "x/all" })], hcas, 0).states;
  deepEqual(by(held("x/all", "2"), dra), ["mlx5_0", "mlx5_1", "mlx5_2"]);
  deepEqual([...heldHcas(held("old/name", "mlx5_1"), known, hcas).values()], ["pod default/s1 through old/name"]);
});

Deno.test("FlapMemory lets a link go twice for free, and then holds its taint longer and longer", () => {
  deepEqual([0, 1, 2, 3, 4, 5, 50].map(holdMs), [0, 0, 0, 30_000, 60_000, 120_000, 600_000]);
  const memory = new FlapMemory();
  const check = (healthy: boolean, now: number) => memory.update([{ name: "a", healthy }], now);
  equal(check(true, 0).names.size, 0);
  for (const now of [1_000, 3_000]) {
    equal(check(false, now).names.size, 0);
    equal(check(true, now + 1_000).names.size, 0, "the first two times");
  }
  check(false, 5_000);
  const third = check(true, 6_000);
  deepEqual([...third.names], [["a", 3]]);
  equal(third.wakeAt, 36_000);
  equal(check(true, 35_999).names.size, 1);
  equal(check(true, 36_000).names.size, 0);
  // Ten quiet minutes make it a good link again.
  check(false, 700_000);
  equal(check(true, 701_000).names.size, 0);
  equal(memory.update([], 702_000).wakeAt, null);
});

Deno.test("healthList() is complete, says why in at most 1024 characters, and how long it is good for", async () => {
  const down = hca(1, { ports: [port(1, { state: "DOWN", physState: "x".repeat(2_000) })] });
  const { devices } = draDevices(after(new Map(), [draSpec()], [hca(0), down], 0).states, new Map());
  const list = healthList(devices, "n1", 1_700_000_000_500).devices!;
  deepEqual(list.map((one) => one.health), ["HEALTHY", "UNHEALTHY"]);
  deepEqual(list[0], {
    device: { pool_name: "n1", device_name: "pci-0000-00-00-0" },
    health: "HEALTHY",
    last_updated_time: 1_700_000_000,
    health_check_timeout_seconds: 30,
    message: "",
  });
  ok(list[1]!.message!.length <= 1_024);
  ok(list[1]!.message!.startsWith("mlx5_1: port 1 is DOWN"));
  // A claim has an HCA that left the pool after its grace time.
  using node = new ClaimNode([hca(0), hca(2)]);
  ok((await node.start().prepare(node.put(claim("u-1", [result("pci-0000-02-00-0")])))).ok);
  const left = healthList(devices, POOL, 0, node.files().read().records).devices!;
  deepEqual(left.slice(2).map((one) => [one.device!.device_name, one.health]), [["pci-0000-02-00-0", "UNHEALTHY"]]);
  ok(left[2]!.message!.startsWith("mlx5_2: "));
});

Deno.test("parseRdmaConfig() takes exactly what it knows", () => {
  const good = { apiVersion: "rdma.tencent.com/v1alpha1", kind: "RdmaConfig" };
  equal(parseRdmaConfig(good).ok, true);
  equal(parseRdmaConfig({ ...good, devices: ["uverbs"], env: false }).ok, true);
  for (
    const bad of [
      null,
      "RdmaConfig",
      {},
      { ...good, kind: "Rdma" },
      { ...good, apiVersion: "rdma.tencent.com/v2" },
      { ...good, device: ["uverbs"] },
      { ...good, devices: [] },
      { ...good, devices: ["gpu"] },
      { ...good, env: "no" },
      { ...good, mounts: ["/etc"] },
    ]
  ) equal(parseRdmaConfig(bad).ok, false, JSON.stringify(bad));
});
