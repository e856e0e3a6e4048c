import { deepEqual, equal } from "@std/assert";
import type { Hca, PortState } from "../../src/hca/types.ts";
import { devices } from "../../src/pool/devices.ts";
import { type PoolStates, track } from "../../src/pool/states.ts";
import { select } from "../../src/pool/select.ts";
import { after, hca, port, snapshot, spec } from "../support/hcas.ts";

const SPEC = spec();
const with1 = (state: PortState): Hca =>
  hca(0, { ports: [port(1, { state, physState: state === "DOWN" ? "Polling" : "LinkUp" })] });
const healthOf = (states: PoolStates, of = SPEC) =>
  devices(states.get(of.name)!).map((one) => `${one.id}:${one.healthy}`);

Deno.test("track() makes a first sight healthy at once, and an unhealthy one says why", () => {
  const first = after(new Map(), [SPEC], [with1("ACTIVE"), hca(1, { uverbs: null })], 0);
  deepEqual(healthOf(first.states), ["mlx5_0:true", "mlx5_1:false"]);
  equal(first.changes[1]!.code, "no-uverbs");
});

Deno.test("track() goes unhealthy at once and comes back only after the settle time", () => {
  const up = after(new Map(), [SPEC], [with1("ACTIVE")], 0);
  const down = after(up.states, [SPEC], [with1("DOWN")], 10);
  deepEqual(healthOf(down.states), ["mlx5_0:false"]);
  deepEqual({ ...down.changes[0]!, reason: "" }, {
    resource: SPEC.name,
    device: "mlx5_0",
    hca: "mlx5_0",
    port: 1,
    from: "Healthy",
    to: "Unhealthy",
    code: "port-down",
    reason: "",
  });
  const back = after(down.states, [SPEC], [with1("ACTIVE")], 20);
  deepEqual(healthOf(back.states), ["mlx5_0:false"]);
  equal(back.wakeAt, 1020);
  const settled = after(back.states, [SPEC], [with1("ACTIVE")], 1020);
  deepEqual(healthOf(settled.states), ["mlx5_0:true"]);
  equal(settled.wakeAt, null);
});

Deno.test("track() changes the list once for a link that bounces ten times a second", () => {
  let { states } = after(new Map(), [SPEC], [with1("ACTIVE")], 0);
  let changes = 0;
  for (let ms = 100; ms <= 5_000; ms += 50) {
    const next = after(states, [SPEC], [with1(ms % 100 === 0 ? "DOWN" : "ACTIVE")], ms);
    changes += next.changes.length;
    states = next.states;
  }
  equal(changes, 1);
});

Deno.test("track() keeps a vanished HCA unhealthy for the grace time and then drops it", () => {
  const up = after(new Map(), [SPEC], [hca(0), hca(1)], 0);
  const gone = after(up.states, [SPEC], [hca(1)], 100);
  deepEqual(healthOf(gone.states), ["mlx5_0:false", "mlx5_1:true"]);
  equal(gone.wakeAt, 60_100);
  deepEqual(healthOf(after(gone.states, [SPEC], [hca(1)], 60_099).states), ["mlx5_0:false", "mlx5_1:true"]);
  deepEqual(healthOf(after(gone.states, [SPEC], [hca(1)], 60_100).states), ["mlx5_1:true"]);
});

Deno.test("track() gives a returning HCA its old ID back", () => {
  const up = after(new Map(), [SPEC], [hca(0)], 0);
  const gone = after(up.states, [SPEC], [], 100);
  const back = after(gone.states, [SPEC], [
    hca(0, { uverbs: { name: "uverbs7", dev: null, abiVersion: 1, present: true } }),
  ], 200);
  const settled = after(
    back.states,
    [SPEC],
    [...back.states.get(SPEC.name)!.deviceStates.values()].flatMap((one) => one.member.hcas),
    1_200,
  );
  deepEqual(healthOf(settled.states), ["mlx5_0:true"]);
  equal(settled.states.get(SPEC.name)!.deviceStates.get("mlx5_0")!.member.hcas[0]!.uverbs!.name, "uverbs7");
});

Deno.test("track() returns the same ledger when nothing changed", () => {
  const host = [hca(0), hca(1)];
  const one = after(new Map(), [SPEC], host, 0);
  const two = after(one.states, [SPEC], host, 30_000);
  equal(two.states, one.states);
  deepEqual(two.changes, []);
});

Deno.test("track() drops at once what a new spec does not select any more", () => {
  const up = after(new Map(), [SPEC], [hca(0), hca(1)], 0);
  const narrower = spec({ select: [{ hcas: ["mlx5_1"] }] });
  deepEqual(healthOf(after(up.states, [narrower], [hca(0), hca(1)], 1).states), ["mlx5_1:true"]);
});

Deno.test("track() obeys each health policy", () => {
  const polling = hca(0, { ports: [port(1, { state: "DOWN", physState: "LinkUp" }), port(2)] });
  const health = (over: object) => ({ ...SPEC.health, ...over });
  const healthy = (over: object) =>
    healthOf(after(new Map(), [spec({ health: health(over) })], [polling], 0).states)[0];
  equal(healthy({}), "mlx5_0:true"); // any port
  equal(healthy({ require: "all" }), "mlx5_0:false");
  equal(healthy({ ports: [1] }), "mlx5_0:false");
  equal(healthy({ ports: [1], policy: "link-up" }), "mlx5_0:true");
  equal(healthy({ ports: [3] }), "mlx5_0:false");
  equal(healthy({ policy: "present", require: "all" }), "mlx5_0:true");
});

Deno.test("track() keeps an HCA in a pod's network namespace as allocated, also after a restart", () => {
  const exclusive = { netnsMode: "exclusive" } as const;
  const moved = select([SPEC], snapshot([], { ...exclusive, inPodNetns: [hca(0)] }));
  const up = after(new Map(), [SPEC], [hca(0)], 0);
  const held = new Map([[SPEC.name, new Set(["mlx5_0"])]]);
  for (const known of [held, null]) {
    deepEqual(healthOf(track(up.states, moved, known, 100_000).states), ["mlx5_0:true"]);
  }
  const restarted = track(
    new Map(),
    select([SPEC], snapshot([], exclusive)),
    held,
    0,
  );
  deepEqual(healthOf(restarted.states), ["mlx5_0:true"]);
});

Deno.test("track() offers no HCA that is in another network namespace and that no pod holds", () => {
  const moved = select([SPEC], snapshot([], { netnsMode: "exclusive", inPodNetns: [hca(0)] }));
  const up = after(new Map(), [SPEC], [hca(0)], 0);
  const others = new Map([["rdma/former-name", new Set(["mlx5_0"])]]);
  const gone = track(up.states, moved, others, 100_000);
  const state = gone.states.get(SPEC.name)!.deviceStates.get("mlx5_0")!;
  deepEqual([state.healthy, state.present, state.code], [false, true, "other-netns"]);
  const back = after(gone.states, [SPEC], [hca(0)], 200_000);
  deepEqual(healthOf(back.states), ["mlx5_0:false"], "it has to stay for the settle time");
  deepEqual(healthOf(after(back.states, [SPEC], [hca(0)], 300_000).states), ["mlx5_0:true"]);
});

Deno.test("track() does not take an HCA that the config leaves out for one in a pod's network namespace, by whichever ID", () => {
  for (const ids of ["name", "pci"] as const) {
    const meant = spec({ ids });
    const up = after(new Map(), [meant], [hca(0)], 0);
    const id = [...up.states.get(meant.name)!.deviceStates.keys()][0]!;
    const other = spec({ ids, select: [{ hcas: ["mlx5_9"] }] });
    const held = new Map([[meant.name, new Set([id])]]);
    const tracked = track(up.states, select([other], snapshot([hca(0)], { netnsMode: "exclusive" })), held, 1);
    deepEqual(healthOf(tracked.states), [], ids);
  }
});

Deno.test("track() keeps the grace time of an HCA that is gone when the config of its resource changes", () => {
  const up = after(new Map(), [SPEC], [hca(0), hca(1)], 0);
  const gone = after(up.states, [SPEC], [hca(1)], 1);
  const changed = { ...SPEC, env: { ...SPEC.env, prefix: "OTHER" } };
  deepEqual(healthOf(after(gone.states, [changed], [hca(1)], 2).states), ["mlx5_0:false", "mlx5_1:true"]);
  const reloaded = after(up.states, [changed], [hca(1)], 2);
  deepEqual(healthOf(reloaded.states), ["mlx5_0:false", "mlx5_1:true"], "gone and changed at once");
  const other = { ...SPEC, select: [{ hcas: ["mlx5_1"] }] };
  deepEqual(healthOf(after(gone.states, [other], [hca(1)], 2).states), ["mlx5_1:true"], "it is not meant any more");
  deepEqual(healthOf(after(gone.states, [spec({ ids: "pci" })], [hca(1)], 2).states).length, 1, "its ID is another");
});

Deno.test("devices() offers shares with the NUMA nodes of what they hand over", () => {
  const far = hca(1, { pci: { ...hca(1).pci!, numaNode: 1 } });
  const none = hca(2, { pci: { ...hca(2).pci!, numaNode: null } });
  const list = (mode: "all" | "one", hosts: Hca[]) => {
    const shared = spec({ mode: { kind: "shared", shares: 2, of: mode } });
    return devices(after(new Map(), [shared], hosts, 0).states.get(shared.name)!);
  };
  deepEqual(list("all", [hca(0), far]), [
    { id: "0", healthy: true, numaNodes: [0, 1] },
    { id: "1", healthy: true, numaNodes: [0, 1] },
  ]);
  deepEqual(list("one", [far, none]).map((one) => [one.id, one.numaNodes]), [
    ["mlx5_1::0", [1]],
    ["mlx5_1::1", [1]],
    ["mlx5_2::0", []],
    ["mlx5_2::1", []],
  ]);
  deepEqual(list("all", []), []);
});
