import { deepEqual, equal, match, ok } from "@std/assert";
import fc from "fast-check";
import { ALL_FEATURES, draDevices, publish } from "../../src/dra/devices.ts";
import { healthList } from "../../src/dra/health.ts";
import { deviceName } from "../../src/dra/names.ts";
import { contents, droppedFields, planWrites, sameSpec, sliceName, type Write } from "../../src/dra/slices.ts";
import type { ResourceSlice } from "../../src/kubernetes/resource_api.ts";
import type { Hca } from "../../src/hca/types.ts";
import { select } from "../../src/pool/select.ts";
import { type PoolStates, track } from "../../src/pool/states.ts";
import { admitSlice, ALL_GATES, sliceMistakes } from "../../sim/api_server/slices.ts";
import { manyHcas, PRESETS } from "../../sim/host/presets.ts";
import { draSpec, firstSlices, IDENTITY, published } from "../support/dra.ts";
import { golden } from "../support/golden.ts";
import { after, hca, pci, port, snapshot } from "../support/hcas.ts";
import { inspected } from "../support/inspected.ts";

const SHARED = draSpec({
  mode: { kind: "shared", shares: 4, of: "one" },
  dra: { taint: "NoSchedule", bandwidth: true, pfExcludesVfs: false },
});
const COUNTED = draSpec({ dra: { taint: "NoSchedule", bandwidth: false, pfExcludesVfs: true } });

const EVERY_PRESET = Object.keys(PRESETS).map((name) => [name, "", draSpec()] as const);

for (
  const [name, what, spec] of [
    ...EVERY_PRESET,
    ["connectx-roce-vfs", "-shared", SHARED],
    ["connectx-roce-vfs", "-counted", COUNTED],
  ] as const
) {
  Deno.test(`publish() makes slices that the API server takes of the host ${name}${what}`, async () => {
    const slices = firstSlices(published(await inspected(name, [spec])));
    for (const slice of slices) deepEqual(sliceMistakes(slice, null), []);
    // A device a line, for whoever reads the difference.
    const text = JSON.stringify(slices).replace(/\{"(name":"(?:pci|sf|rdma)-|apiVersion":)/g, '\n{"$1');
    golden(`slices/${name}${what}.txt`, `${text}\n`);
  });
}

const state = (hcas: readonly Hca[], spec = draSpec()) => after(new Map(), [spec], hcas, 0).states;

function made(states: ReturnType<typeof state>, over: Partial<Parameters<typeof publish>[0]> = {}) {
  const { devices } = draDevices(states, new Map());
  return publish({ devices, netnsMode: "shared", features: ALL_FEATURES, known: new Map(), ...over });
}

Deno.test("deviceName() is a DNS label made of the PCI address, and of the name only where there is no function", () => {
  const nameOf = (one: Hca) => draDevices(state([one]), new Map()).devices[0]!.name;
  equal(nameOf(hca(3)), "pci-0000-03-00-0");
  equal(nameOf(hca(3, { kind: "sf", sfNumber: 88 })), "sf-0000-03-00-0-88");
  equal(nameOf(hca(0, { name: "rxe_0", kind: "virtual", pci: null })), "rdma-rxe-0");
  equal(deviceName({ id: "0000:af:00.1", hcas: [], inPodNetns: true }), "pci-0000-af-00-1");
  const long = nameOf(hca(0, { name: "x".repeat(63), kind: "virtual", pci: null }));
  ok(long.length <= 63 && /^[a-z0-9-]+$/.test(long), long);
});

Deno.test("draDevices() offers of two HCAs with one device name the first, and says so of the other", () => {
  const two = [
    hca(0, { name: "rxe-0", kind: "virtual", pci: null }),
    hca(1, { name: "rxe_0", kind: "virtual", pci: null }),
  ];
  const { devices, notes } = draDevices(state(two), new Map());
  equal(devices.length, 1);
  match(notes[0]!, /(rxe_0 is not offered: rxe-0|rxe-0 is not offered: rxe_0) has its device name rdma-rxe-0 already/);
});

Deno.test("publish() taints what has too many errors in a counter by a key of its own, until it is Healthy", () => {
  const rule = { counter: "link_downed", limit: 5, windowMs: 600_000 };
  const errors = new Map([["mlx5_0", [{
    ...{ rule, hca: "mlx5_0", identity: "", port: 1, group: "port", value: 7n, readAt: 0, slots: [], count: 7 },
    exceeded: { count: 7, at: 0 },
  }]]]);
  const of = draSpec({ health: { ...draSpec().health, errors: [rule] } });
  const host = [hca(0), hca(1)];
  const step = (before: PoolStates, now: number, exceeded: typeof errors) =>
    track(before, select([of], snapshot(host)), new Map(), now, () => null, exceeded).states;
  const taints = (states: PoolStates) =>
    publish({
      devices: draDevices(states, new Map()).devices,
      netnsMode: "shared",
      features: ALL_FEATURES,
      known: new Map(),
    })
      .devices.map((one) => (one.taints ?? []).map((taint) => taint.key).join());
  const bad = step(new Map(), 0, errors);
  deepEqual(taints(bad), ["rdma.tencent.com/counter-errors", ""]);
  match(
    healthList(draDevices(bad, new Map()).devices, "node-1", 0).devices![0]!.message ?? "",
    /link_downed went up by 7/,
  );
  const settling = step(bad, 10, new Map());
  deepEqual(taints(settling), ["rdma.tencent.com/counter-errors", ""]);
  deepEqual(taints(step(settling, 5_000, new Map())), ["", ""]);
});

Deno.test("publish() taints what is down, without its node, gone, or held through the device plugin", () => {
  const down = hca(0, { ports: [port(1, { state: "DOWN", physState: "Polling" })] });
  const nodeless = hca(1, { uverbs: { name: "uverbs1", dev: null, abiVersion: 1, present: false } });
  const gone = hca(2);
  const specs = [draSpec()];
  const first = after(new Map(), specs, [down, nodeless, gone, hca(3), hca(4)], 0).states;
  const states = after(first, specs, [down, nodeless, hca(3), hca(4)], 1).states;
  const { devices } = draDevices(states, new Map([["mlx5_4", "a/p"]]));
  const taints = publish({ devices, netnsMode: "shared", features: ALL_FEATURES, known: new Map() }).devices
    .map((one) => (one.taints ?? []).map((taint) => `${taint.key.split("/")[1]}:${taint.effect}`).join());
  deepEqual(taints, [
    "link-down:NoSchedule",
    "no-device-node:NoSchedule",
    "gone:NoSchedule",
    "",
    "held-by-device-plugin:NoSchedule",
  ]);
});

Deno.test("publish() taints a device without a node of expose.devices as one without its node, not as a link", () => {
  const spec = draSpec();
  const { states } = track(new Map(), select([spec], snapshot([hca(0)])), new Map(), 0, () => "/dev/hfi1_0 is missing");
  const { devices } = draDevices(states, new Map());
  const [device] = publish({ devices, netnsMode: "shared", features: ALL_FEATURES, known: new Map() }).devices;
  deepEqual(device!.taints?.map((taint) => taint.key), ["rdma.tencent.com/no-device-node"]);
});

Deno.test("publish() leaves out what it cannot taint, and a PF whose VFs are offered where counters are dropped", () => {
  const pf = hca(0, { pci: pci("0000:00:00.0", { sriovNumVfs: 1, sriovTotalVfs: 8 }) });
  const vf = hca(1, { kind: "vf", pci: pci("0000:00:00.1", { physfn: "0000:00:00.0", vfIndex: 0 }) });
  const down = hca(2, { ports: [port(1, { state: "DOWN" })] });
  const states = state([pf, vf, down], COUNTED);
  const all = made(states);
  deepEqual(all.counters, [{ name: "pf-0000-00-00-0", counters: { vfs: { value: "8" } } }]);
  deepEqual(all.devices.map((one) => one.consumesCounters?.[0]?.counters.vfs?.value ?? null), ["8", "1", null]);
  const none = made(states, { features: { taints: false, sharing: false, counters: false } });
  deepEqual(none.devices.map((one) => one.name), ["pci-0000-00-00-1"]);
  const unshared = made(state([pf], SHARED), { features: { ...ALL_FEATURES, sharing: false } });
  equal(unshared.devices[0]!.allowMultipleAllocations, undefined);
  match(unshared.notes[0]!, /cannot be shared: .*DRAConsumableCapacity is off/);
  match(none.notes.join("\n"), /pci-0000-02-00-0 is left out: .*DRADeviceTaints is off/);
  match(none.notes.join("\n"), /pci-0000-00-00-0 is left out: its VFs are offered/);
});

Deno.test("publish() offers what is down all the same where its taint is only a report, with and without taints", () => {
  const spec = draSpec({ dra: { taint: "None", bandwidth: false, pfExcludesVfs: false } });
  const down = state([hca(0, { ports: [port(1, { state: "DOWN" })] })], spec);
  deepEqual(made(down).devices[0]!.taints, [{ key: "rdma.tencent.com/link-down", effect: "None" }]);
  const dropped = made(down, { features: { ...ALL_FEATURES, taints: false } });
  deepEqual(dropped.devices.map((one) => [one.name, one.taints]), [["pci-0000-00-00-0", undefined]]);
  deepEqual(dropped.notes, []);
});

Deno.test("publish() shares nothing in exclusive net namespace mode", () => {
  const one = made(state([hca(0)], SHARED), { netnsMode: "exclusive" });
  equal(one.devices[0]!.allowMultipleAllocations, undefined);
  match(one.notes[0]!, /mode is exclusive/);
});

Deno.test("publish() remembers a net device that a CNI moved away and the rate of a port that is down", () => {
  const before = made(state([hca(0)])).devices[0]!;
  const known = new Map([[before.name, before.attributes!]]);
  const moved = hca(0, { netdevs: [], ports: [port(1, { state: "DOWN", rate: "10 Gb/sec", rateGbps: 10 })] });
  const later = made(state([moved]), { known }).devices[0]!;
  deepEqual(later.attributes, before.attributes);
});

Deno.test("publish() leaves out a value that is too long instead of having the slice refused", () => {
  const odd = made(state([hca(0, { firmware: "f".repeat(65) })])).devices[0]!;
  equal(odd.attributes!.firmware, undefined);
  equal(odd.attributes!.rdmaDevice!.string, "mlx5_0");
});

function applied(existing: readonly ResourceSlice[], writes: readonly Write[]): readonly ResourceSlice[] {
  const all = new Map(existing.map((one) => [one.metadata.name!, one]));
  for (const write of writes) {
    if (write.kind === "delete") all.delete(write.name);
    else {
      deepEqual(sliceMistakes(write.slice, write.kind === "update" ? all.get(write.slice.metadata.name!)! : null), []);
      all.set(write.slice.metadata.name!, admitSlice(write.slice, ALL_GATES, "2026-01-01T00:00:00Z"));
    }
  }
  return [...all.values()];
}

Deno.test("planWrites() splits at 64 devices, and asks for nothing when nothing changed", async () => {
  const wanted = contents(published(await inspected(manyHcas(130), [draSpec()])));
  deepEqual(wanted.map((one) => one.devices?.length), [64, 64, 2]);
  const slices = applied([], planWrites([], wanted, IDENTITY));
  deepEqual(slices.map((one) => one.metadata.name), ["00", "01", "02"].map((n) => `node-1-rdma.tencent.com-${n}`));
  deepEqual(planWrites(slices, wanted, IDENTITY), []);
});

Deno.test("planWrites() asks for nothing when the server has written a thousand shares as 1k, and 2000 Gb/s as 2T", () => {
  for (const shares of [1, 100, 999, 1_000, 1_500, 2_000, 10_000, 100_000]) {
    const spec = draSpec({
      mode: { kind: "shared", shares, of: "one" },
      dra: { taint: "NoSchedule", bandwidth: true, pfExcludesVfs: false },
    });
    const wanted = contents(made(state([hca(0, { ports: [port(1, { rateGbps: 2_000 })] })], spec)));
    const stored = applied([], planWrites([], wanted, IDENTITY));
    deepEqual(planWrites(stored, wanted, IDENTITY), [], String(shares));
  }
});

Deno.test("planWrites() replaces one slice in place for a taint, and starts another generation when devices move", async () => {
  const all = await inspected(manyHcas(70), [draSpec()]);
  const wanted = contents(published(all));
  const slices = applied([], planWrites([], wanted, IDENTITY));
  const held = contents(published(all, ALL_FEATURES, new Map([["mlx5_69", "a/p"]])));
  const taint = planWrites(slices, held, IDENTITY);
  deepEqual(taint.map((one) => one.kind), ["update"]);
  const tainted = applied(slices, taint);
  deepEqual(new Set(tainted.map((one) => one.spec.pool.generation)), new Set([1]));
  // The server filled in when the taint was added; that is no difference.
  deepEqual(planWrites(tainted, held, IDENTITY), []);
  const fewer = contents(published(await inspected(manyHcas(3), [draSpec()])));
  const shrunk = applied(tainted, planWrites(tainted, fewer, IDENTITY));
  deepEqual(shrunk.map((one) => [one.spec.pool.generation, one.spec.pool.resourceSliceCount]), [[2, 1]]);
});

Deno.test("planWrites() keeps the age of a taint when its device moves to another slice", () => {
  const taints = [{ key: "x.example/down", effect: "NoSchedule" as const }];
  const devices = Array.from({ length: 70 }, (_, i) => ({ name: `d${i}`, ...i === 64 ? { taints } : {} }));
  const toContents = (some: typeof devices) => contents({ devices: some, counters: [], notes: [] });
  const before = applied([], planWrites([], toContents(devices), IDENTITY));
  const times = (slices: readonly ResourceSlice[]) =>
    slices.flatMap(({ metadata, spec }) =>
      (spec.devices ?? []).flatMap((one) => (one.taints ?? []).map(({ timeAdded }) => [metadata.name, timeAdded]))
    );
  deepEqual(times(before), [["node-1-rdma.tencent.com-01", "2026-01-01T00:00:00Z"]]);
  const writes = planWrites(before, toContents(devices.slice(1)), IDENTITY);
  const written = writes.flatMap((one) => one.kind === "delete" ? [] : [one.slice]);
  deepEqual(times(written), [["node-1-rdma.tencent.com-00", "2026-01-01T00:00:00Z"]]);
});

Deno.test("planWrites() leads from any slices to the wanted ones in one round, and then rests", () => {
  const device = fc.record({ n: fc.integer({ min: 0, max: 150 }), tainted: fc.boolean() });
  const pool = fc.uniqueArray(device, { selector: (one) => one.n, maxLength: 150 });
  const toContents = (list: readonly { n: number; tainted: boolean }[]) =>
    contents({
      devices: list.map(({ n, tainted }) => ({
        name: `d${n}`,
        ...tainted ? { taints: [{ key: "x.example/down", effect: "NoSchedule" as const }] } : {},
      })),
      counters: [],
      notes: [],
    });
  fc.assert(
    fc.property(pool, pool, (before, next) => {
      const slices = applied([], planWrites([], toContents(before), IDENTITY));
      const wanted = toContents(next);
      const there = applied(slices, planWrites(slices, wanted, IDENTITY));
      deepEqual(planWrites(there, wanted, IDENTITY), []);
      equal(there.length, there[0]!.spec.pool.resourceSliceCount);
      equal(new Set(there.map((one) => one.spec.pool.generation)).size, 1);
      deepEqual(there.flatMap((one) => (one.spec.devices ?? []).map((d) => d.name)), next.map((one) => `d${one.n}`));
    }),
    { numRuns: 100 },
  );
});

Deno.test("droppedFields() names what the server did not keep", () => {
  const [sent] = firstSlices({
    devices: [{
      name: "a",
      allowMultipleAllocations: true,
      taints: [{ key: "x.example/y", effect: "NoSchedule" }],
    }],
    counters: [],
    notes: [],
  });
  const off = { DRADeviceTaints: false, DRAConsumableCapacity: false, DRAPartitionableDevices: false };
  deepEqual([...droppedFields(sent!.spec, admitSlice(sent!, off, "now").spec)], ["taints", "sharing"]);
  deepEqual([...droppedFields(sent!.spec, admitSlice(sent!, ALL_GATES, "now").spec)], []);
  ok(sameSpec(sent!.spec, admitSlice(sent!, ALL_GATES, "now").spec));
});

Deno.test("sliceName() stays a valid name on a node with the longest name there is", () => {
  const name = sliceName({ ...IDENTITY, node: `${"n".repeat(60)}.`.repeat(4) + "end.example" }, 17);
  ok(name.length <= 253, String(name.length));
  match(name, /-rdma\.tencent\.com-11$/);
});
