import { deepEqual, equal, ok, rejects } from "@std/assert";
import { readdirSync } from "node:fs";
import { join } from "node:path";
import { setImmediate as turn } from "node:timers/promises";
import { CLAIMS } from "../../sim/api_server/server.ts";
import type { KubeObject } from "../../sim/api_server/store.ts";
import { manyHcas } from "../../sim/host/presets.ts";
import { DEFAULT_SPEC } from "../../src/pool/spec.ts";
import { offered } from "../support/kubelet.ts";
import { draSpec } from "../support/dra.ts";
import { DraRig } from "../support/dra_rig.ts";
import type { ResourceClaim } from "../../src/kubernetes/resource_api.ts";

const QUICK = draSpec({ health: { ...draSpec().health, settleMs: 0 } });
const A = "pci-0000-65-00-0", B = "pci-0000-65-00-1";

function allocated(claim: ResourceClaim | null): ResourceClaim {
  ok(claim !== null, "the claim is pending");
  return claim;
}

Deno.test("DRA: HCAs are published, a claim gets exactly its nodes, and the health of its device is reported", async () => {
  await using rig = await DraRig.start({ host: "broadcom-bnxt" });
  await rig.ready(2);
  deepEqual(rig.devices.map((one) => one.name), [A, B]);
  equal(rig.api.slices[0]!.metadata.ownerReferences![0]!.uid, "node-uid");
  const answers: unknown[] = [];
  rig.agent.observe({ onClaim: (method, _seconds, refused) => answers.push([method, refused !== null]) });
  const one = allocated(rig.claim("one", { where: { rdmaDevice: "bnxt_re1" } }));
  const pod = await rig.run(one);
  deepEqual(pod.devices.map((device) => device.device_name), [B]);
  deepEqual(pod.view.devices.map((node) => node.containerPath).sort(), [
    "/dev/infiniband/rdma_cm",
    "/dev/infiniband/uverbs1",
  ]);
  equal(pod.view.envs.RDMA_HCAS, "bnxt_re1");
  equal(rig.dra.health("node-1", B)?.health, "HEALTHY");
  ok(rig.claim("two", {}) !== null && rig.claim("three", {}) === null, "there are two HCAs");
  await rig.remove("one");
  deepEqual(readdirSync(join(rig.dir, "cdi")), []);
  deepEqual(answers, [["NodePrepareResources", false], ["NodeUnprepareResources", false]]);
});

// The test runner counts the timers and sockets of each test: what a closed driver leaves behind fails it.
for (const turns of [0, 1, 2, 4, 6, 8, 10, 12, 16, 24]) {
  Deno.test(`DRA: a driver that is closed ${turns} turns of the event loop after its start leaves nothing open`, async () => {
    await using _ = await DraRig.start({ host: "broadcom-bnxt" });
    for (let n = 0; n < turns; n++) await turn();
  });
}

Deno.test("DRA: while the API server is away pods go on, health too, and a new claim gets the reason", async () => {
  await using rig = await DraRig.start({ host: "broadcom-bnxt" });
  await rig.ready(2);
  const old = allocated(rig.claim("old", { where: { rdmaDevice: "bnxt_re0" } }));
  const fresh = allocated(rig.claim("fresh"));
  await rig.run(old);
  await rig.api.down();
  const refused: unknown[] = [];
  rig.agent.observe({ onClaim: (method, _seconds, reason) => refused.push([method, reason !== null]) });
  await rejects(rig.run(fresh), /claim default\/fresh: the API server https:.* cannot be reached/);
  deepEqual(refused, [["NodePrepareResources", true]]);
  equal((await rig.run(old)).devices.length, 1);
  const { reports } = rig.dra;
  await rig.host.portDown("bnxt_re0", 1);
  await rig.dra.waitFor(() => rig.dra.health("node-1", A)?.health === "UNHEALTHY", "health without the API server");
  ok(rig.dra.reports > reports);
  await rig.dra.removePod("pod-old");
  await rig.logged(/the ResourceSlices are not up to date/);
  await rig.api.up();
  await rig.api.waitFor(() => rig.taints(A).includes("link-down"), "the taint after all");
  equal((await rig.run(fresh)).devices.length, 1);
});

Deno.test("DRA: a server that drops taints is not given what is down", async () => {
  await using rig = await DraRig.start({
    host: "broadcom-bnxt",
    before: (api) => api.gates = { ...api.gates, DRADeviceTaints: false },
  });
  await rig.ready(2);
  await rig.host.portDown("bnxt_re0", 1);
  await rig.api.waitFor(() => rig.devices.length === 1, "the device left out");
  deepEqual(rig.devices.map((one) => one.name), [B]);
  await rig.logged(/DRADeviceTaints off/);
  await rig.host.portUp("bnxt_re0", 1);
  await rig.api.waitFor(() => rig.devices.length === 2, "the device again");
});

Deno.test("DRA: an HCA that a pod has through the device plugin is tainted, and never prepared (s1, s2)", async () => {
  const plugin = { ...DEFAULT_SPEC, health: QUICK.health };
  await using rig = await DraRig.start({ host: "broadcom-bnxt", specs: [plugin] });
  await offered(rig.kubelet, 2, plugin.name);
  await rig.kubelet.admit({ name: "s1", resource: plugin.name, count: 1, mustInclude: ["bnxt_re0"] });
  // The node is switched to DRA under the running pod; the class has the resource's name.
  await rig.agent.reconfigure([QUICK]);
  await rig.ready(2);
  await rig.api.waitFor(() => rig.taints(A).includes("held-by-device-plugin"), "the taint");
  const s2 = allocated(rig.claim("s2", { where: { rdmaDevice: "bnxt_re0" }, tolerate: true }));
  await rejects(
    rig.run(s2),
    /claim default\/s2: pci-0000-65-00-0 \(bnxt_re0\) is held by pod default\/s1 through tencent\.com\/rdma/,
  );
  rig.kubelet.release("s1");
  await rig.api.waitFor(() => rig.taints(A).length === 0, "no taint");
  equal((await rig.run(s2)).devices.length, 1);
});

Deno.test("DRA: an HCA that a claim has is Unhealthy for the device plugin until it is given back", async () => {
  const plugin = { ...DEFAULT_SPEC, health: QUICK.health };
  await using rig = await DraRig.start({ host: "broadcom-bnxt" });
  await rig.ready(2);
  await rig.run(allocated(rig.claim("one", { where: { rdmaDevice: "bnxt_re0" } })));
  await rig.agent.reconfigure([plugin]);
  await offered(rig.kubelet, 1, plugin.name);
  const { devices } = rig.kubelet.state().resources[plugin.name]!;
  deepEqual(devices.map((one) => [one.id, one.health]), [["bnxt_re0", "Unhealthy"], ["bnxt_re1", "Healthy"]]);
  await rejects(rig.kubelet.allocate(plugin.name, [["bnxt_re0"]]), /claim default\/one has it through DRA/);
  await rig.remove("one");
  await offered(rig.kubelet, 2, plugin.name);
});

Deno.test("DRA: a plugin that has no resource for DRA any more still lets the pods of prepared claims end", async () => {
  const plugin = { ...DEFAULT_SPEC, health: QUICK.health };
  await using rig = await DraRig.start({ host: "broadcom-bnxt" });
  await rig.ready(2);
  await rig.run(allocated(rig.claim("one", { where: { rdmaDevice: "bnxt_re0" } })));
  await rig.agents.pop()!.close();
  const before = rig.dra.registrations;
  await rig.startAgent("", [plugin]);
  await offered(rig.kubelet, 1, plugin.name);
  await rig.dra.waitFor(() => rig.dra.registrations > before, "the driver");
  await rig.api.waitFor(() => rig.devices.length === 0, "no device on offer through DRA");
  await rig.remove("one");
  await offered(rig.kubelet, 2, plugin.name);
});

Deno.test("DRA: in a rolling update the new process takes over without a wipe, with the claims of the old one", async () => {
  await using rig = await DraRig.start({ host: "broadcom-bnxt", wipeMs: 300 });
  await rig.agent.close();
  rig.agents.pop();
  await rig.startAgent("uid-1");
  await rig.ready(2);
  await rig.run(allocated(rig.claim("one")));
  const { version } = rig.api.store;
  for (let n = 2; n <= 6; n++) {
    const old = rig.agent;
    const before = rig.dra.registrations;
    await rig.startAgent(`uid-${n}`);
    await rig.dra.waitFor(() => rig.dra.registrations > before, "the new one");
    await old.close();
    rig.agents.shift();
    await rig.dra.waitFor(() => rig.dra.drivers.length === 1, "the old one is gone");
  }
  equal(rig.api.store.version, version, "no slice was written or deleted");
  await rig.remove("one");
  deepEqual(readdirSync(join(rig.dir, "cdi")), []);
  deepEqual(readdirSync(join(rig.dir, "registry")), ["rdma.tencent.com-uid-6-reg.sock"]);
});

Deno.test("DRA: nothing is written when nothing changes, and a link that flaps a hundred times causes ten writes at most", async () => {
  await using rig = await DraRig.start({ host: "broadcom-bnxt" });
  await rig.ready(2);
  const before = rig.api.writes().length;
  // What an hour has: sixty scans, eight watches that end, a token that is replaced, and health lists all the time.
  for (let n = 0; n < 60; n++) {
    await rig.agent.scan("test");
    if (n % 8 === 0) rig.api.cutWatches();
    if (n === 30) rig.api.rotateToken();
  }
  await rig.api.waitFor(() => rig.api.watches > 0, "the watch");
  const { reports } = rig.dra;
  await rig.dra.waitFor(() => rig.dra.reports > reports, "a health list");
  equal(rig.api.writes().length, before);
  for (let n = 0; n < 100; n++) {
    await rig.host.portDown("bnxt_re0", 1);
    await rig.agent.scan("test");
    await rig.host.portUp("bnxt_re0", 1);
    await rig.agent.scan("test");
  }
  await rig.api.waitFor(() => rig.taints(A).includes("link-down"), "the taint stays for a while");
  const writes = rig.api.writes().length - before;
  ok(writes >= 1 && writes <= 10, `${writes} writes`);
});

Deno.test("DRA: a node with 130 HCAs is published in three slices", async () => {
  await using rig = await DraRig.start({ host: manyHcas(130) });
  await rig.ready(130);
  deepEqual(rig.api.slices.map((one) => one.spec.devices?.length), [64, 64, 2]);
  await rig.host.portDown("mlx5_100", 1);
  await rig.api.waitFor(() => rig.devices.some((one) => (one.taints ?? []).length > 0), "a taint");
});

Deno.test("DRA: missing rights, an expired token and a busy server are said, and end by themselves", async () => {
  await using rig = await DraRig.start({
    host: "broadcom-bnxt",
    before: (api) => api.fault = { kind: "forbidden", verb: "POST", resource: "resourceslices" },
  });
  await rig.logged(/not up to date: the API server refused: resourceslices is forbidden: .* cannot create/);
  rig.api.fault = { kind: "error", status: 429, retryAfterSeconds: 0 };
  rig.api.expireToken();
  await rig.logged(/bad day/);
  rig.api.fault = null;
  await rig.logged(/Unauthorized/);
  rig.api.rotateToken();
  await rig.ready(2);
});

Deno.test("DRA: of two claims of one pod the second sees what the first got, and each has its own answer", async () => {
  await using rig = await DraRig.start({ host: "broadcom-bnxt" });
  await rig.ready(2);
  const one = allocated(rig.claim("one", { where: { rdmaDevice: "bnxt_re0" } }));
  // A scheduler that has lost its mind: the same device twice.
  const { spec: _, ...twice } = { ...one, metadata: { name: "two" }, spec: null };
  const two = rig.api.store.create(CLAIMS, twice as unknown as KubeObject, "default") as unknown as ResourceClaim;
  const refs = [one, two].map(({ metadata }) => ({
    namespace: "default",
    name: metadata.name!,
    uid: metadata.uid!,
    driver: "rdma.tencent.com",
  }));
  await rejects(
    rig.dra.runPod("both", refs),
    /claim default\/two: pci-0000-65-00-0 \(bnxt_re0\) is held by claim default\/one/,
  );
  await rig.dra.removePod("both");
  deepEqual(readdirSync(join(rig.dir, "cdi")), []);
});
