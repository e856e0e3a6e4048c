import { deepEqual, doesNotMatch, equal, match, ok, rejects } from "@std/assert";
import { existsSync, mkdirSync, readdirSync, readFileSync, writeFileSync } from "node:fs";
import { connect, createServer, type Socket } from "node:net";
import { join } from "node:path";
import { type FakeKubelet } from "../../sim/kubelet/kubelet.ts";
import { healthy, type PluginStub, RESOURCE } from "../support/plugin_stub.ts";
import { eventually } from "../support/eventually.ts";
import { within } from "../support/temp.ts";
import { Bench, bench } from "./bench.ts";

const CHECKPOINT = "kubelet_internal_checkpoint";

Deno.test("start() removes every file but the checkpoint, sockets too, and leaves directories", async () => {
  await using at = new Bench({});
  await at.stub();
  mkdirSync(join(at.dir, "kept"));
  writeFileSync(join(at.dir, "old"), "");
  writeFileSync(join(at.dir, CHECKPOINT), "torn");
  await at.kubelet.start();
  deepEqual(readdirSync(at.dir).sort(), ["kept", "kubelet.sock", CHECKPOINT]);
});

const REFUSALS: readonly [string, Parameters<PluginStub["register"]>[0], RegExp][] = [
  ["another API version", { version: "v1alpha1" }, /"v1alpha1".*v1beta1/],
  ["a name without domain", { resource_name: "rdma" }, /"rdma" is not an extended resource name: it has no domain/],
  ["a name of Kubernetes' own", { resource_name: "kubernetes.io/rdma" }, /belong to Kubernetes/],
  ["a name of a kubernetes.io subdomain", { resource_name: "x.kubernetes.io/rdma" }, /belong to Kubernetes/],
  ["a quota name", { resource_name: "requests.example.com/rdma" }, /reserved for quota/],
  ["two slashes", { resource_name: "example.com/rdma/x" }, /more than one slash/],
  ["an upper-case domain", { resource_name: "Example.com/rdma" }, /lower-case DNS name/],
  ["a name that ends with a dash", { resource_name: "example.com/rdma-" }, /start and end/],
  ["a name of 64 characters", { resource_name: `example.com/${"r".repeat(64)}` }, /longer than 63/],
  ["an endpoint in another directory", { endpoint: "../stub.sock" }, /plain file name/],
  ["an empty endpoint", { endpoint: "" }, /endpoint is empty/],
];
for (const [what, request, sentence] of REFUSALS) {
  Deno.test(`Register refuses ${what} with code UNKNOWN, without dialling`, async () => {
    await using at = await bench();
    const stub = await at.stub();
    await rejects(stub.register(request), (error: Error & { code: number; details: string }) => {
      equal(error.code, 2);
      match(error.details, sentence);
      return true;
    });
    deepEqual(stub.calls, []);
    equal(at.kubelet.history.at(-1)?.kind, "refused");
    deepEqual(at.kubelet.state().resources, {});
  });
}

Deno.test("by path: the end of an earlier plugin's stream leaves the second one, and the end of the second the first", async () => {
  for (const leaves of ["first", "second"] as const) {
    await using at = await bench({ endpointKeys: "path" });
    const plugins = {
      first: await at.plugin(),
      second: await at.plugin({ endpoint: "second.sock", devices: healthy("c") }),
    };
    await plugins[leaves].close();
    const stays = leaves === "first" ? plugins.second : plugins.first;
    stays.list(healthy("d", "e", "f"));
    const { resources } = await at.kubelet.waitFor((state) => state.resources[RESOURCE]?.allocatable === 3 && state);
    equal(resources[RESOURCE]?.endpoint, stays.socket);
    equal(at.kubelet.history.some(({ kind }) => kind === "stream-ended"), false);
    await stays.close();
    await at.kubelet.waitFor((state) => state.resources[RESOURCE]?.allocatable === 0);
  }
});

Deno.test("by path: a path that is connected is refused, and the kubelet does not notice its end any more", async () => {
  await using at = await bench({ endpointKeys: "path" });
  const stub = await at.plugin();
  await rejects(stub.register(), /device plugin already connected: .*stub\.sock/);
  stub.endStreams();
  const other = await at.plugin({ endpoint: "other.sock", devices: healthy("c") });
  equal(at.kubelet.state().resources[RESOURCE]?.endpoint, other.socket);
  await rejects(stub.register(), /already connected/, "for good");
});

for (
  const [how, end] of [
    ["the plugin ends it", (stub: PluginStub) => stub.endStreams()],
    ["the plugin dies", (stub: PluginStub) => stub.close()],
    ["the kubelet drops it", (_: PluginStub, kubelet: FakeKubelet) => kubelet.dropStream(RESOURCE)],
  ] as const
) {
  Deno.test(`all devices are unhealthy when the stream ends because ${how}, and the resource goes later`, async () => {
    await using at = await bench({ endpointTtlMs: 40 });
    const stub = await at.plugin();
    // Waited for from the start: the resource is gone 40 ms later, however long the plugin's end takes.
    const waiting = at.kubelet.waitFor((state, history) =>
      history.some((event) => event.kind === "stream-ended") && state.resources[RESOURCE]
    );
    await end(stub, at.kubelet);
    const ended = await waiting;
    equal(ended.capacity, 2);
    equal(ended.allocatable, 0);
    equal(ended.endpoint, null);
    await at.kubelet.waitFor((state) => state.resources[RESOURCE] === undefined);
    equal(at.kubelet.history.at(-1)?.kind, "dropped");
  });
}

Deno.test("a plugin that comes back in time keeps its resource on the node", async () => {
  await using at = await bench({ endpointTtlMs: 60_000 });
  const stub = await at.plugin();
  at.kubelet.dropStream(RESOURCE);
  await at.kubelet.waitFor((state) => state.resources[RESOURCE]?.allocatable === 0);
  await stub.register();
  await at.kubelet.waitFor((state) => state.resources[RESOURCE]?.allocatable === 2);
});

Deno.test("restart() keeps allocations through a checkpoint in the kubelet's shape; capacity is 0 until the plugin is back", async () => {
  await using at = await bench();
  const stub = await at.plugin({
    devices: [{ ID: "a", health: "Healthy", topology: { nodes: [{ ID: 1 }] } }, ...healthy("b")],
  });
  const pod = { name: "p", resource: RESOURCE, count: 2 };
  await at.kubelet.admit(pod);
  const { Data } = JSON.parse(readFileSync(join(at.dir, CHECKPOINT), "utf8"));
  deepEqual(Data.PodDeviceEntries[0].DeviceIDs, { "1": ["a"], "-1": ["b"] });
  deepEqual(Data.RegisteredDevices, { [RESOURCE]: ["a", "b"] });

  await at.kubelet.restart();
  ok(!existsSync(stub.socket), "the plugin's socket is removed");
  const state = at.kubelet.state();
  equal(state.resources[RESOURCE]?.capacity, 0);
  deepEqual(state.allocations, [{ pod: "p", container: "main", resource: RESOURCE, ids: ["a", "b"] }]);
  await rejects(at.kubelet.admit({ ...pod, name: "q", count: 1 }), /no healthy device/);

  const back = await at.plugin();
  const again = await at.kubelet.admit(pod);
  equal(again.view.envs["DEVICES"], "a,b");
  doesNotMatch(back.calls.join(), /Allocate/);
});

Deno.test("start() passes over a checkpoint whose checksum is wrong and says so", async () => {
  const lines: string[] = [];
  await using at = await bench({ log: (line) => lines.push(line) });
  await at.plugin();
  await at.kubelet.admit({ name: "p", resource: RESOURCE, count: 1 });
  await at.kubelet.stop();
  const path = join(at.dir, CHECKPOINT);
  writeFileSync(path, readFileSync(path, "utf8").replace('"p"', '"q"'));
  await at.kubelet.start();
  deepEqual(at.kubelet.state().allocations, []);
  match(lines.join("\n"), /checksum does not match/);
});

/** The error code of a connection that is refused. */
function refusalOf(path: string): Promise<string | undefined> {
  return new Promise((resolve) => {
    const connection = connect(path, () => {
      connection.destroy();
      resolve("none");
    });
    connection.on("error", (error: Error & { code?: string }) => resolve(error.code));
  });
}

for (const socket of ["stays", "goes"] as const) {
  Deno.test(`stop() cuts the plugin's stream; kubelet.sock ${socket}`, async () => {
    await using at = await bench();
    const stub = await at.plugin();
    await at.kubelet.stop({ socket });
    equal(existsSync(join(at.dir, "kubelet.sock")), socket === "stays");
    await stub.streamsGone();
    // Dialled without gRPC, whose client would go on trying to reconnect for a while after the test.
    // Deno says that a listener is closed a little before the kernel knows.
    const refusal = socket === "stays" ? "ECONNREFUSED" : "ENOENT";
    await eventually(async () => await refusalOf(join(at.dir, "kubelet.sock")) === refusal, refusal);
    equal(at.kubelet.state().running, false);
  });
}

Deno.test("close() gives up a plugin that takes the connection and says nothing", async () => {
  await using at = await bench({ dialTimeoutMs: 60_000 });
  const connections: Socket[] = [];
  const mute = createServer((connection) => connections.push(connection)).listen(join(at.dir, "mute.sock"));
  const stub = await at.stub();
  const call = rejects(stub.register({ endpoint: "mute.sock" }));
  // The first is only to see whether anybody listens.
  await eventually(() => connections.length >= 2, "the kubelet's connection");
  await within(at.kubelet.close(), "the kubelet's end", 20_000);
  await call;
  for (const one of connections) one.destroy();
  mute.close();
});

Deno.test("stop() ends an Allocate under way", async () => {
  await using at = await bench();
  const { promise: arrived, resolve: arrive } = Promise.withResolvers<void>();
  const { promise: never, resolve: let_go } = Promise.withResolvers<object>();
  await at.plugin({
    allocate: () => {
      arrive();
      return never;
    },
  });
  const pod = rejects(at.kubelet.admit({ name: "p", resource: RESOURCE, count: 1 }), /Allocate failed/);
  await arrived;
  await at.kubelet.stop();
  await pod;
  let_go({});
});

Deno.test("waitFor() says what it waited for, the state and the last events when the time is over", async () => {
  await using at = await bench();
  await at.plugin({ devices: [{ ID: "sick", health: "Unhealthy" }] });
  await rejects(at.kubelet.waitFor(() => false, { timeoutMs: 1, what: "a miracle" }), (error: Error) => {
    match(error.message, /a miracle/);
    match(error.message, /example\.com\/rdma: 0 of 1 healthy \(not: \[sick\]\)/);
    match(error.message, /list example\.com\/rdma \[sick=Unhealthy\]/);
    return true;
  });
  const waiting = rejects(at.kubelet.waitFor(() => false), /the kubelet was closed/);
  await at.kubelet.close();
  await waiting;
});
