import { deepEqual, equal, match, ok } from "@std/assert";
import fc from "fast-check";
import type { Inventory } from "../../src/agent/inventory.ts";
import type { SessionStatus } from "../../src/device_plugin/session.ts";
import { cut } from "../../src/kubernetes/core_api.ts";
import type { DeviceState } from "../../src/pool/states.ts";
import { DEFAULT_SPEC } from "../../src/pool/spec.ts";
import { Budget } from "../../src/report/budget.ts";
import { conditionOf, type Reported } from "../../src/report/condition.ts";
import { eventName, eventObject } from "../../src/report/event_object.ts";
import { FlappingMemory } from "../../src/report/flapping.ts";
import { difference } from "../../src/report/label_writer.ts";
import { labelsOf, labelValue } from "../../src/report/labels.ts";
import { type Occurrence, occurrences } from "../../src/report/occurrences.ts";
import { Registrations } from "../../src/report/registrations.ts";
import { SeriesBook } from "../../src/report/series.ts";
import { keyOf, type NodeView, type ReportedDevice, viewOf } from "../../src/report/view.ts";
import { admitEvent } from "../../sim/api_server/patches.ts";
import type { KubeObject } from "../../sim/api_server/store.ts";
import { inspected } from "../support/inspected.ts";
import { sessionStatus } from "../support/session_status.ts";

const RESOURCE = DEFAULT_SPEC.name;

function device(name: string, over: Partial<ReportedDevice> = {}): ReportedDevice {
  const state = { healthy: true, code: null, port: null, reason: "" };
  return { resource: RESOURCE, device: name, hca: name, ...state, ...over };
}

const DOWN = { healthy: false, code: "port-down", port: 1, reason: "port 1 is DOWN (Polling)" } as const;

function view(devices: readonly ReportedDevice[], leftOut: NodeView["leftOut"] = []): NodeView {
  return { devices: new Map(devices.map((one) => [keyOf(one.resource, one.device), one])), leftOut };
}

function reported(devices: readonly ReportedDevice[], over: Partial<Reported> = {}): Reported {
  return { view: view(devices), flapping: new Set(), late: new Map(), ...over };
}

const NODE = { apiVersion: "v1", kind: "Node", name: "n1", uid: "n1" };

function occurrence(over: Partial<Occurrence> = {}): Occurrence {
  return {
    id: "unhealthy mlx5_0",
    reason: "RDMADeviceUnhealthy",
    type: "Warning",
    action: "HealthCheck",
    note: "mlx5_0 is Unhealthy",
    device: null,
    ...over,
  };
}

Deno.test("the condition is True while every device is healthy, and names those that are not", () => {
  equal(conditionOf(reported([])), null);
  equal(conditionOf(reported([device("mlx5_0")]))?.status, "True");
  const bad = conditionOf(reported([device("mlx5_0"), device("mlx5_1", DOWN)]))!;
  deepEqual([bad.status, bad.reason], ["False", "DevicesUnhealthy"]);
  equal(bad.message, "1 of 2 devices not healthy: mlx5_1: port 1 is DOWN (Polling)");
  const none = conditionOf({ ...reported([]), view: view([], [{ hca: "mlx5_0", reason: "r" }]) })!;
  deepEqual([none.status, none.reason], ["False", "NoDevices"]);
  const late = conditionOf(reported([device("mlx5_0")], { late: new Map([[RESOURCE, "no kubelet"]]) }))!;
  deepEqual([late.status, late.reason], ["False", "NotRegistered"]);
});

Deno.test("a condition of a node with very many devices stays short, and an HCA in two resources is named once", () => {
  const many = Array.from({ length: 500 }, (_, n) => device(`mlx5_${n}`, { ...DOWN, reason: "ä".repeat(300) }));
  const { message } = conditionOf(reported(many))!;
  ok(new TextEncoder().encode(message).length <= 1_024, message);
  const twice = [device("mlx5_0", DOWN), device("mlx5_0", { ...DOWN, resource: "rdma/other" })];
  equal(conditionOf(reported(twice))!.message, "2 of 2 devices not healthy: mlx5_0: port 1 is DOWN (Polling)");
});

Deno.test("a thousand flaps change the condition a few times, and end in one recovery", () => {
  const memory = new FlappingMemory(30_000);
  const messages: string[] = [];
  const found: Occurrence[] = [];
  let last: Reported | null = null;
  const step = (devices: readonly ReportedDevice[], now: number) => {
    const next = view(devices);
    const { keys, wakeAt } = memory.update(next, now);
    const now_ = { view: next, flapping: keys, late: new Map() };
    found.push(...occurrences(last, now_));
    last = now_;
    const { message } = conditionOf(now_)!;
    if (messages.at(-1) !== message) messages.push(message);
    return wakeAt;
  };
  let now = 0;
  let wakeAt = step([device("mlx5_0")], now);
  for (let n = 0; n < 1_000; n++) {
    step([device("mlx5_0", DOWN)], now += 500);
    wakeAt = step([device("mlx5_0")], now += 500);
  }
  step([device("mlx5_0")], wakeAt!);
  deepEqual(messages, [
    "1 device is healthy",
    "1 of 1 device not healthy: mlx5_0: port 1 is DOWN (Polling)",
    "1 device is healthy",
    "1 of 1 device not healthy: mlx5_0: port 1 is DOWN (Polling)",
    "1 device is healthy",
    "1 of 1 device not healthy: mlx5_0: it goes down again and again",
    "1 device is healthy",
  ]);
  equal(found.filter((one) => one.reason === "RDMADeviceUnhealthy").length, 1_000);
  equal(new Set(found.map((one) => one.id)).size, 2);
  equal(found.filter((one) => one.reason === "RDMADeviceHealthy").length, 3);
});

Deno.test("a device that settles keeps the reason why it was Unhealthy", async () => {
  const before = view([device("mlx5_0", DOWN)]);
  const found = await inspected("connectx-roce-vfs");
  const hca = found.snapshot.hcas[0]!;
  const member = { id: "mlx5_0", hcas: [hca], inPodNetns: false };
  const settling: DeviceState = {
    member,
    healthy: false,
    present: true,
    code: "settling",
    reason: "all requirements hold again",
    port: 1,
    counter: null,
    fitSince: 5,
    goneSince: null,
  };
  const inventory = (state: DeviceState): Inventory => ({
    ...found,
    states: new Map([[RESOURCE, { spec: DEFAULT_SPEC, deviceStates: new Map([["mlx5_0", state]]) }]]),
  });
  equal(viewOf(inventory(settling), before).devices.get(keyOf(RESOURCE, "mlx5_0"))!.reason, DOWN.reason);
  const counting = (reason: string) => inventory({ ...settling, code: "counter-errors", reason, fitSince: null });
  const first = viewOf(counting("symbol_error went up by 5"), null);
  equal(
    viewOf(counting("symbol_error went up by 6"), first).devices.get(keyOf(RESOURCE, "mlx5_0"))!.reason.at(-1),
    "5",
  );
  const claimed = { ...settling, fitSince: null, member: { ...member, claimedBy: "claim a/b" } };
  equal(viewOf(inventory(claimed), before).devices.get(keyOf(RESOURCE, "mlx5_0"))!.healthy, true);
});

Deno.test("a resource is late after a minute without the kubelet, and standby is not", () => {
  const registrations = new Registrations(60_000);
  const session = (phase: SessionStatus["phase"]) => sessionStatus({ phase, reason: "no kubelet" });
  equal(registrations.update([session("waiting")], 0).wakeAt, 60_000);
  equal(registrations.update([session("registering")], 59_999).reasons.size, 0);
  deepEqual([...registrations.update([session("waiting")], 60_000).reasons], [[RESOURCE, "no kubelet"]]);
  equal(registrations.update([session("registered")], 60_001).reasons.size, 0);
  equal(registrations.update([session("standby")], 200_000).wakeAt, null);
});

Deno.test("the same again is one series for half an hour, and rarely written", () => {
  const book = new SeriesBook();
  const writes: number[] = [];
  let now = 0;
  const write = () => {
    for (let one = book.due(now); one !== null; one = book.due(now)) {
      book.written(one, one.count, now);
      writes.push(one.count);
    }
  };
  for (let n = 0; n < 1_000; n++) {
    book.record(occurrence(), NODE, now);
    write();
    now += 1_000;
  }
  now = book.nextDue() ?? now;
  write();
  equal(writes.at(-1), 1_000);
  ok(writes.length <= 22, `${writes.length} writes`);
  equal(book.size, 1);
  equal(book.nextDue(), null);
  now += 1_800_001;
  book.record(occurrence(), NODE, now);
  equal(book.due(now)?.count, 1);
});

Deno.test("the book is bounded, and what is too old when the server is back is not written", () => {
  const book = new SeriesBook();
  for (let n = 0; n < 1_000; n++) book.record(occurrence({ id: String(n) }), NODE, n);
  equal(book.size, 128);
  equal(book.dropped, 872);
  equal(book.due(1_000)?.occurrence.id, "872");
  equal(book.due(4_000_000), null);
  equal(book.size, 0);
});

Deno.test("events are as events.k8s.io/v1 takes them, whatever the machine says", () => {
  fc.assert(
    fc.property(
      fc.string({ unit: "binary", maxLength: 3_000 }),
      fc.string({ unit: "binary", maxLength: 300 }),
      fc.integer({ min: 1, max: 1_000_000 }),
      fc.stringMatching(/^[a-z0-9]([-a-z0-9]{0,60}[a-z0-9])?(\.[a-z0-9]([-a-z0-9]{0,60}[a-z0-9])?){0,3}$/),
      (note, instance, count, name) => {
        const regarding = { ...NODE, name };
        const series = { occurrence: occurrence({ note }), regarding, first: 1, last: 2, count };
        const one = { ...series, written: 0, name: null, notBefore: 0, gapMs: 1 };
        const event = eventObject(one, eventName(one, "0123456789abcdef"), instance === "" ? "i" : instance);
        admitEvent(event as unknown as KubeObject, null);
      },
    ),
    { numRuns: 30 },
  );
});

Deno.test("labels tell what a node has, and are gone with the last adapter", async () => {
  deepEqual(labelsOf(await inspected("connectx-ib-dual")), {
    "rdma.tencent.com/firmware": "20.35",
    "rdma.tencent.com/hcas": "1",
    "rdma.tencent.com/link-layer.infiniband": "true",
    "rdma.tencent.com/netns-mode": "shared",
    "rdma.tencent.com/ports": "2",
    "rdma.tencent.com/ports-active": "1",
    "rdma.tencent.com/rate-gbps": "100",
    "rdma.tencent.com/transport.ib": "true",
    "rdma.tencent.com/vendor.15b3": "true",
  });
  deepEqual(labelsOf(await inspected("empty")), {});
  const mixed = labelsOf(await inspected("mixed"));
  for (const key of ["transport.roce", "transport.ib", "transport.efa", "vendor.1d0f"]) {
    equal(mixed[`rdma.tencent.com/${key}`], "true", key);
  }
  const inventory = await inspected("connectx-ib-dual");
  const [resource, { deviceStates }] = [...inventory.states][0]!;
  const flapping = new Set([keyOf(resource, [...deviceStates.keys()][0]!)]);
  equal(labelsOf(inventory, flapping)["rdma.tencent.com/ports-active"], "0");
});

Deno.test("label values are valid by Kubernetes' rules, whatever the host says", () => {
  fc.assert(fc.property(fc.string({ unit: "binary", maxLength: 200 }), (text) => {
    const value = labelValue(text);
    if (value !== null) match(value, /^[A-Za-z0-9]([A-Za-z0-9._-]{0,61}[A-Za-z0-9])?$/);
  }));
  equal(labelValue("20.31.1014 (MT_0000000224)"), "20.31.1014-MT_0000000224");
  equal(labelValue("…"), null);
});

Deno.test("difference() removes labels that do not hold any more", () => {
  deepEqual(difference({ a: "1", b: "2", c: "3" }, { a: "1", b: "4", d: "5" }), { c: null, b: "4", d: "5" });
});

Deno.test("a budget gives some at once, and then one in a while", () => {
  const budget = new Budget(2, 100);
  deepEqual([budget.take(0), budget.take(0), budget.take(0), budget.take(50)], [null, null, 100, 100]);
  equal(budget.take(100), null);
});

Deno.test("cut() keeps whole characters", () => {
  equal(cut("äöü", 6), "äöü");
  equal(cut("äöüß", 7), "äö…");
  equal(cut("😀😀", 7), "😀…");
});
