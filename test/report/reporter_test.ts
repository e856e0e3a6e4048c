import { deepEqual, equal, match, ok } from "@std/assert";
import { SLICES_PATH } from "../../src/kubernetes/resource_api.ts";
import { DEFAULT_SPEC } from "../../src/pool/spec.ts";
import { EVENTS, NODES } from "../../sim/api_server/server.ts";
import { offered, RESOURCE } from "../support/kubelet.ts";
import { NODE, ReportRig } from "../support/report_rig.ts";
import { QUICK_HEALTH } from "../support/world.ts";

const HOST = "connectx-roce-vfs";

/** Milliseconds since the epoch of a condition's transition. */
const transition = (one: { lastTransitionTime?: string }) => Date.parse(one.lastTransitionTime ?? "");

Deno.test("a port goes down and comes back: the condition, an event on the node, one on the pod that has it", async () => {
  await using rig = await ReportRig.start({ host: HOST });
  const { host, kubelet } = rig.world;
  const start = await rig.ready("True", "AllDevicesHealthy");
  await kubelet.waitFor(({ resources }) => (resources[RESOURCE]?.allocatable ?? 0) > 0);
  const pod = await kubelet.admit({ name: "train-0", resource: RESOURCE, count: 1 });
  const [held = ""] = pod.ids;
  const ports = rig.world.agent.state.inventory!.snapshot.hcas.find((one) => one.name === held)!.ports;
  for (const { number } of ports) await host.carrierLost(held, number);
  const down = await rig.ready("False", "DevicesUnhealthy");
  match(down.message ?? "", new RegExp(`^1 of \\d+ devices not healthy: ${held}: port 1 is DOWN \\(Polling\\)`));
  ok(transition(down) >= transition(start));
  const onPod = await rig.api.waitFor(() => rig.events("RDMADeviceUnhealthy", "Pod")[0], "an event on the pod");
  deepEqual(onPod.regarding, { apiVersion: "v1", kind: "Pod", namespace: "default", name: "train-0", uid: "train-0" });
  const [onNode, ...more] = rig.events("RDMADeviceUnhealthy");
  deepEqual(more, []);
  deepEqual(onNode!.regarding, { apiVersion: "v1", kind: "Node", name: NODE, uid: NODE });
  equal(onNode!.type, "Warning");
  equal(onNode!.metadata.namespace, "default");
  for (const { number } of ports) await host.portUp(held, number);
  await rig.ready("True");
  await rig.api.waitFor(() => rig.events("RDMADeviceHealthy", "Pod")[0], "it is back, on the pod");
  await rig.api.waitFor(() => rig.events("RDMADeviceHealthy")[0], "it is back, on the node");
});

Deno.test("a link that flaps a hundred times is one series, whatever the pace", async () => {
  await using rig = await ReportRig.start({
    host: "soft-roce",
    specs: [{ ...DEFAULT_SPEC, health: { ...QUICK_HEALTH, settleMs: 0 } }],
  });
  await rig.ready("True");
  const { host, agent } = rig.world;
  const hca = agent.state.inventory!.snapshot.hcas[0]!;
  for (let n = 0; n < 100; n++) {
    for (const { number } of hca.ports) await host.carrierLost(hca.name, number);
    await agent.scan("test");
    for (const { number } of hca.ports) await host.portUp(hca.name, number);
    await agent.scan("test");
  }
  await rig.ready("True");
  const [series, ...more] = await rig.api.waitFor(() => {
    const found = rig.events("RDMADeviceUnhealthy");
    return found[0]?.series?.count === 100 && found;
  }, "the last repeat is counted");
  deepEqual(more, []);
  ok(series!.series!.lastObservedTime > series!.eventTime);
  await rig.api.waitFor(() => rig.events("RDMADeviceHealthy")[0], "it is back");
  equal(rig.events("RDMADeviceHealthy").length, 1);
});

Deno.test("nothing is asked and nothing is written while nothing happens", async () => {
  await using rig = await ReportRig.start({ host: HOST, settings: { labels: true } });
  await rig.ready("True");
  await rig.api.waitFor(() => rig.node.metadata.labels?.["rdma.tencent.com/hcas"], "labels");
  await rig.world.kubelet.waitFor(({ resources }) => (resources[RESOURCE]?.allocatable ?? 0) > 0);
  for (let n = 0; n < 50; n++) await rig.world.agent.scan("timer");
  deepEqual(rig.api.writes().map((one) => one.method), ["PATCH", "PATCH"]);
  // The node is read at the start, and again when a kubelet that may be a new one has registered the plugin again.
  const again = rig.world.agent.state.sessions.reduce((sum, one) => sum + one.registrations - 1, 0);
  const reads = rig.api.requests.filter((one) => one.method === "GET").length;
  ok(reads <= 1 + again, `${reads} reads with ${again} repeated registrations`);
});

Deno.test("while the API server is away pods are served, and then it gets the latest, not a history", async () => {
  await using rig = await ReportRig.start({ host: HOST });
  const first = await rig.ready("True");
  const { host, kubelet, agent } = rig.world;
  await kubelet.waitFor(({ resources }) => (resources[RESOURCE]?.allocatable ?? 0) > 0);
  await rig.api.down();
  const hca = agent.state.inventory!.snapshot.hcas[0]!;
  const down = async () => {
    for (const { number } of hca.ports) await host.carrierLost(hca.name, number);
    await kubelet.waitFor(({ resources }) => resources[RESOURCE]?.devices.some((one) => one.health === "Unhealthy"));
  };
  const up = async () => {
    for (const { number } of hca.ports) await host.portUp(hca.name, number);
    await kubelet.waitFor(({ resources }) => resources[RESOURCE]?.devices.every((one) => one.health === "Healthy"));
  };
  for (let n = 0; n < 5; n++) {
    await down();
    await up();
  }
  await rig.log.logged(/Cannot write the condition RDMAReady: .*tried again/);
  await kubelet.admit({ name: "meanwhile", resource: RESOURCE, count: 1 });
  await down();
  const writes = rig.api.store.writes.get(EVENTS) ?? 0;
  equal(writes, 0);
  await rig.api.up();
  const now = await rig.ready("False");
  ok(transition(now) >= transition(first));
  await rig.api.waitFor(() => rig.events("RDMADeviceUnhealthy")[0]?.series?.count === 6, "one series of six");
  equal(rig.events("RDMADeviceUnhealthy").length, 1);
  await rig.log.logged(/the condition RDMAReady: written again/);
});

Deno.test("a plugin that starts again on a node as it left it writes nothing; a transition keeps its time", async () => {
  await using rig = await ReportRig.start({ host: HOST });
  await rig.ready("True");
  const hca = rig.world.agent.state.inventory!.snapshot.hcas[0]!;
  for (const { number } of hca.ports) await rig.world.host.carrierLost(hca.name, number);
  await rig.ready("False");
  await rig.api.waitFor(() => rig.events("RDMADeviceUnhealthy")[0], "the event");
  await rig.stopReporting();
  const writes = rig.api.writes().length;
  rig.report();
  await rig.api.waitFor(() => rig.api.requests.filter((one) => one.method === "GET").length === 2, "it reads the node");
  // Another device, so that there is something to wait for.
  const other = rig.world.agent.state.inventory!.snapshot.hcas[1]!;
  for (const { number } of other.ports) await rig.world.host.carrierLost(other.name, number);
  await rig.api.waitFor(() => rig.condition?.message?.startsWith("2 of"), "two devices");
  await rig.api.waitFor(() => rig.events("RDMADeviceUnhealthy").length === 2, "the second event");
  equal(rig.api.writes().length, writes + 2);
  const before = rig.condition!.lastTransitionTime;
  for (const { number } of other.ports) await rig.world.host.portUp(other.name, number);
  await rig.api.waitFor(() => rig.condition?.message?.startsWith("1 of"), "one device");
  equal(rig.condition!.lastTransitionTime, before);
});

Deno.test("a condition that was removed with its node comes back when a kubelet registers again", async () => {
  await using rig = await ReportRig.start({ host: HOST });
  await rig.ready("True");
  await rig.world.kubelet.waitFor(({ resources }) => (resources[RESOURCE]?.allocatable ?? 0) > 0);
  rig.api.store.delete(NODES, NODE);
  rig.api.store.create(NODES, { metadata: { name: NODE, uid: "another" } });
  await rig.world.kubelet.restart();
  await rig.ready("True");
});

Deno.test("events that the server refuses are given up, and neither the condition nor serving waits for them", async () => {
  await using rig = await ReportRig.start({
    host: HOST,
    before: (api) => {
      api.fault = { kind: "forbidden", verb: "POST", resource: "events" };
    },
  });
  await rig.ready("True");
  const hca = rig.world.agent.state.inventory!.snapshot.hcas[0]!;
  for (const { number } of hca.ports) await rig.world.host.carrierLost(hca.name, number);
  await rig.ready("False");
  await rig.log.logged(/an event \(RDMADeviceUnhealthy of Node node-1\) is given up: .*forbidden/);
  // One line for all that are refused, and each is tried once.
  equal(rig.log.lines.filter((one) => one.includes("is given up")).length, 1);
  ok(rig.api.requests.filter((one) => one.method === "POST").length <= 2);
});

Deno.test("a condition that may not be written is tried again, and there when the rights are", async () => {
  await using rig = await ReportRig.start({
    host: HOST,
    before: (api) => {
      api.fault = { kind: "forbidden", verb: "PATCH", resource: "nodes" };
    },
  });
  await rig.log.logged(/Cannot write the condition RDMAReady: .*forbidden.*apply the ClusterRole/);
  rig.api.fault = null;
  await rig.ready("True");
});

Deno.test("a kubelet that does not come is in the condition and an event after a while, and its coming, too", async () => {
  await using rig = await ReportRig.start({ host: HOST, kubeletUp: false, settings: { timing: { lateMs: 200 } } });
  const late = await rig.ready("False", "NotRegistered");
  match(late.message ?? "", /tencent\.com\/rdma is not registered with the kubelet: /);
  await rig.api.waitFor(() => rig.events("RDMARegistrationFailed")[0], "the event");
  await rig.world.kubelet.start();
  await rig.ready("True");
  await rig.api.waitFor(() => rig.events("RDMARegistered")[0], "the event that it is registered");
});

Deno.test("adapters that are in no resource are one event, and a node without adapters has no condition", async () => {
  {
    await using rig = await ReportRig.start({
      host: HOST,
      specs: [{ ...DEFAULT_SPEC, select: [{ linkLayers: ["InfiniBand"] }] }],
    });
    const condition = await rig.ready("False", "NoDevices");
    match(condition.message ?? "", /adapters? (is|are) in no resource/);
    const [event, ...more] = await rig.api.waitFor(() => {
      const found = rig.events("RDMAAdapterLeftOut");
      return found.length > 0 && found;
    }, "the event");
    deepEqual(more, []);
    match(event!.note, /^mlx5_0 is in no resource: its link layer is Ethernet, wanted: InfiniBand; mlx5_1/);
    // gRPC clients that are closed while they connect leave timers behind.
    await offered(rig.world.kubelet, 0);
  }
  await using none = await ReportRig.start({ host: "empty" });
  await none.api.waitFor(() => none.api.requests.length > 0, "it reads the node");
  await offered(none.world.kubelet, 0);
  equal(none.condition, undefined);
  deepEqual(none.api.writes(), []);
});

Deno.test("an API server in a bad state gets no more than its share, and what it missed when it is well", async () => {
  await using rig = await ReportRig.start({ host: HOST });
  await rig.ready("True");
  const hca = rig.world.agent.state.inventory!.snapshot.hcas[0]!;
  for (
    const fault of [
      { kind: "error", status: 500 },
      { kind: "error", status: 429, retryAfterSeconds: 0 },
      { kind: "slow", ms: 30 },
    ] as const
  ) {
    rig.api.fault = fault;
    for (const { number } of hca.ports) await rig.world.host.carrierLost(hca.name, number);
    await rig.world.kubelet.waitFor(({ resources }) =>
      resources[RESOURCE]?.devices.some((one) => one.health === "Unhealthy")
    );
    rig.api.fault = fault.kind === "slow" ? fault : null;
    await rig.ready("False");
    for (const { number } of hca.ports) await rig.world.host.portUp(hca.name, number);
    rig.api.fault = null;
    await rig.ready("True");
  }
  rig.api.expireToken();
  for (const { number } of hca.ports) await rig.world.host.carrierLost(hca.name, number);
  await rig.log.logged(/Unauthorized/);
  rig.api.rotateToken();
  await rig.ready("False");
  ok(!rig.api.requests.some((one) => one.path.startsWith(SLICES_PATH)));
});
