import { deepEqual, equal, match, ok, rejects } from "@std/assert";
import { type AdmissionError } from "../../sim/kubelet/kubelet.ts";
import { healthy, RESOURCE } from "../support/plugin_stub.ts";
import { bench } from "./bench.ts";

Deno.test("admit() allocates with one container request and hands over what the plugin answered", async () => {
  await using at = await bench();
  await at.plugin({
    allocate: () => ({
      envs: { A: "1" },
      annotations: { k: "v" },
      devices: [{ host_path: "/dev/x", container_path: "/dev/y", permissions: "rw" }],
      mounts: [{ host_path: "/h", container_path: "/c", read_only: true }],
      cdi_devices: [{ name: "example.com/rdma=a" }],
    }),
  });
  const pod = await at.kubelet.admit({ name: "p", resource: RESOURCE, count: 1 });
  deepEqual(pod.ids, ["a"]);
  deepEqual(pod.cdiDevices, ["example.com/rdma=a"]);
  deepEqual(pod.view.devices, [{ hostPath: "/dev/x", containerPath: "/dev/y", permissions: "rw" }]);
  deepEqual(pod.view.mounts, [{ hostPath: "/h", containerPath: "/c", readOnly: true }]);
  deepEqual({ ...pod.view.envs }, { A: "1" });
  deepEqual({ ...pod.view.annotations }, { k: "v" });
});

Deno.test("admit() never gives a device twice, and release() frees it", async () => {
  await using at = await bench();
  await at.plugin();
  const both = await Promise.all([1, 2].map((n) => at.kubelet.admit({ name: `p${n}`, resource: RESOURCE, count: 1 })));
  deepEqual(both.flatMap((pod) => pod.ids).sort(), ["a", "b"]);
  await rejects(at.kubelet.admit({ name: "p3", resource: RESOURCE, count: 1 }), /1 of .* requested, 0 available/);
  ok(at.kubelet.release("p1"));
  ok(!at.kubelet.release("p1"), "only once");
  deepEqual((await at.kubelet.admit({ name: "p3", resource: RESOURCE, count: 1 })).ids, both[0]?.ids);
});

Deno.test("admit() passes unhealthy devices over and fails when none is healthy or nobody registered", async () => {
  await using at = await bench();
  const stub = await at.plugin({ devices: [{ ID: "a", health: "Unhealthy" }, ...healthy("b")] });
  deepEqual((await at.kubelet.admit({ name: "p", resource: RESOURCE, count: 1 })).ids, ["b"]);
  stub.list([{ ID: "a", health: "Unhealthy" }]);
  await at.kubelet.waitFor((state) => state.resources[RESOURCE]?.allocatable === 0);
  await rejects(at.kubelet.admit({ name: "q", resource: RESOURCE, count: 1 }), /no healthy device/);
  await rejects(at.kubelet.admit({ name: "q", resource: "example.com/other", count: 1 }), /no device plugin/);
});

Deno.test("admit() says the plugin's words and code when Allocate is refused, and books nothing", async () => {
  await using at = await bench();
  const refusal = Object.assign(new Error("a is on fire"), { code: 9 });
  await at.plugin({ allocate: () => Promise.reject(refusal) });
  await rejects(at.kubelet.admit({ name: "p", resource: RESOURCE, count: 1 }), (error: AdmissionError) => {
    match(error.message, /UnexpectedAdmissionError: pod p .*a is on fire/);
    equal(error.code, 9);
    return true;
  });
  deepEqual(at.kubelet.state().allocations, []);
});

Deno.test("admit() follows GetPreferredAllocation, ignores strays and fills up what it leaves open", async () => {
  await using at = await bench();
  await at.plugin({ devices: healthy("a", "b", "c", "d"), prefer: () => ["d", "nonsense"] });
  deepEqual((await at.kubelet.admit({ name: "p", resource: RESOURCE, count: 2 })).ids, ["d", "a"]);
  const asked = at.kubelet.history.flatMap((event) => event.kind === "preferred" ? [event] : []);
  deepEqual(asked.map(({ available, ignored }) => ({ available, ignored })), [
    { available: ["a", "b", "c", "d"], ignored: ["nonsense"] },
  ]);
});

Deno.test("admit() takes mustInclude first and tells the plugin about it", async () => {
  await using at = await bench();
  await at.plugin({ devices: healthy("a", "b", "c", "d"), prefer: (_available, must) => [...must, "b"] });
  const pod = await at.kubelet.admit({ name: "p", resource: RESOURCE, count: 2, mustInclude: ["c"] });
  deepEqual(pod.ids, ["c", "b"]);
  const impossible = at.kubelet.admit({ name: "q", resource: RESOURCE, count: 1, mustInclude: ["c"] });
  await rejects(impossible, /c of .* must be used but is not available/);
});

Deno.test("admit() offers only the devices of the wanted NUMA node while they suffice", async () => {
  await using at = await bench();
  const on = (ID: string, node: number) => ({ ID, health: "Healthy", topology: { nodes: [{ ID: node }] } });
  const stub = await at.plugin({
    devices: [on("a", 0), on("b", 1), on("c", 1), ...healthy("d")],
    prefer: (available) => [...available].reverse(),
  });
  deepEqual((await at.kubelet.admit({ name: "p", resource: RESOURCE, count: 1, numaNode: 1 })).ids, ["c"]);
  // One left on node 1: it is taken unasked, the plugin chooses the rest.
  const calls = stub.calls.length;
  deepEqual((await at.kubelet.admit({ name: "q", resource: RESOURCE, count: 2, numaNode: 1 })).ids, ["b", "d"]);
  deepEqual(stub.calls.slice(calls), ["GetPreferredAllocation", "Allocate"]);
});

Deno.test("admit() calls PreStartContainer before each start; a restarted container keeps its devices", async () => {
  await using at = await bench();
  const started: string[] = [];
  const stub = await at.plugin({ preStart: (ids) => started.push(ids.join()) });
  const pod = { name: "p", resource: RESOURCE, count: 1 };
  const first = await at.kubelet.admit(pod);
  const again = await at.kubelet.admit(pod);
  deepEqual(again.ids, first.ids);
  deepEqual(started, ["a", "a"]);
  equal(stub.calls.filter((call) => call === "Allocate").length, 1);
  await rejects(at.kubelet.admit({ ...pod, count: 2 }), /already holds 1 of it/);
});

Deno.test("admit() fails with the plugin's words when PreStartContainer does", async () => {
  await using at = await bench();
  await at.plugin({
    preStart: () => {
      throw new Error("not today");
    },
  });
  await rejects(at.kubelet.admit({ name: "p", resource: RESOURCE, count: 1 }), /PreStartContainer failed: .*not today/);
});

Deno.test("raw calls reach the plugin: several container requests, preferences, options", async () => {
  await using at = await bench();
  await at.plugin({ prefer: (_, __, size) => [String(size)] });
  const answers = await at.kubelet.allocate(RESOURCE, [["a"], ["b", "a"]]);
  deepEqual(answers.map((answer) => answer.envs?.["DEVICES"]), ["a", "b,a"]);
  const asked = await at.kubelet.preferred(RESOURCE, [{ available: ["a"], mustInclude: [], size: 7 }]);
  deepEqual(asked, [["7"]]);
  equal((await at.kubelet.options(RESOURCE)).get_preferred_allocation_available, true);
});
