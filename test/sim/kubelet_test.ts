import { deepEqual, doesNotMatch, equal, match, ok, rejects } from "@std/assert";
import { createHash } from "node:crypto";
import { existsSync, mkdirSync, mkdtempSync, readdirSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { type AdmissionError, FakeKubelet, type FakeKubeletOptions } from "../../sim/kubelet/kubelet.ts";
import { healthy, PluginStub, RESOURCE, type StubOptions } from "../support/plugin_stub.ts";

const CHECKPOINT = "kubelet_internal_checkpoint";

/** A started kubelet in a directory of its own, and stubs that are cleaned up with it. */
class Bench {
  readonly dir = mkdtempSync(join(tmpdir(), "fk-"));
  /** Outside of `dir`, which the kubelet empties. */
  readonly aside = mkdtempSync(join(tmpdir(), "fk-aside-"));
  readonly registry = join(this.aside, "registry");
  readonly cdi = join(this.aside, "cdi");
  readonly kubelet: FakeKubelet;
  readonly #stubs: PluginStub[] = [];

  constructor(options: Partial<FakeKubeletOptions>, parts: { watcher?: boolean; cdi?: boolean } = {}) {
    this.kubelet = new FakeKubelet({
      dir: this.dir,
      ...(parts.watcher ? { pluginsRegistry: this.registry } : {}),
      ...(parts.cdi ? { cdiDirs: [this.cdi] } : {}),
      ...options,
    });
  }

  async stub(options: StubOptions = {}, dir = this.dir): Promise<PluginStub> {
    const stub = await PluginStub.listen(dir, options);
    this.#stubs.push(stub);
    return stub;
  }

  /** A stub whose first list has arrived. */
  async plugin(options: StubOptions = {}): Promise<PluginStub> {
    const stub = await this.stub(options);
    const before = this.kubelet.state().resources[stub.resource]?.lists ?? 0;
    await stub.register();
    await this.kubelet.waitFor((state) => (state.resources[stub.resource]?.lists ?? 0) > before);
    return stub;
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.kubelet.close();
    for (const stub of this.#stubs) await stub.close();
    rmSync(this.dir, { recursive: true });
    rmSync(this.aside, { recursive: true });
  }
}

async function bench(options: Partial<FakeKubeletOptions> = {}): Promise<Bench> {
  const made = new Bench(options);
  await made.kubelet.start();
  return made;
}

Deno.test("start() removes every file but the checkpoint, sockets too, and leaves directories", async () => {
  await using at = new Bench({});
  await at.stub();
  mkdirSync(join(at.dir, "kept"));
  writeFileSync(join(at.dir, "old"), "");
  writeFileSync(join(at.dir, CHECKPOINT), "torn");
  await at.kubelet.start();
  deepEqual(readdirSync(at.dir).sort(), ["kept", "kubelet.sock", CHECKPOINT]);
});

Deno.test("Register dials back with authority localhost inside the call, asks the options, then watches", async () => {
  await using at = await bench();
  const stub = await at.stub();
  await stub.register();
  equal(stub.authority, "localhost");
  equal(stub.calls[0], "GetDevicePluginOptions");
  await at.kubelet.waitFor((state) => state.resources[RESOURCE]?.allocatable === 2);
  deepEqual(stub.calls, ["GetDevicePluginOptions", "ListAndWatch"]);
  const kinds = at.kubelet.history.map((event) => event.kind);
  deepEqual(kinds, ["listening", "register", "registered", "list"]);
});

Deno.test("Register asks no options when askOptions is false", async () => {
  await using at = await bench({ askOptions: false });
  const stub = await at.plugin();
  deepEqual(stub.calls, ["ListAndWatch"]);
  equal(at.kubelet.state().resources[RESOURCE]?.options, null);
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

Deno.test("Register fails when nobody listens on the endpoint within the dial timeout", async () => {
  await using at = await bench({ dialTimeoutMs: 50 });
  const stub = await at.stub();
  await rejects(stub.register({ endpoint: "nobody.sock" }), /nobody\.sock within 50 ms/);
});

Deno.test("a second Register takes the resource over and then closes the first connection", async () => {
  await using at = await bench();
  const first = await at.plugin();
  await at.plugin({ endpoint: "second.sock", devices: healthy("c") });
  const resource = at.kubelet.state().resources[RESOURCE];
  equal(resource?.endpoint, join(at.dir, "second.sock"));
  deepEqual(resource?.devices.map((device) => device.id), ["c"]);
  await first.streamsGone();
  ok(!at.kubelet.history.some((event) => event.kind === "stream-ended"), "the takeover is no loss");
});

Deno.test("capacity counts all devices, allocatable the healthy ones, NUMA nodes are kept", async () => {
  await using at = await bench();
  const stub = await at.plugin();
  stub.list([
    { ID: "a", health: "Healthy", topology: { nodes: [{ ID: 1 }, { ID: 0 }] } },
    { ID: "b", health: "Unhealthy" },
  ]);
  await at.kubelet.waitFor((state) => state.resources[RESOURCE]?.lists === 2);
  const resource = at.kubelet.state().resources[RESOURCE];
  equal(resource?.capacity, 2);
  equal(resource?.allocatable, 1);
  deepEqual(resource?.devices[0]?.numa, [1, 0]);
  deepEqual(resource?.devices[1]?.numa, []);
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
    await end(stub, at.kubelet);
    const ended = await at.kubelet.waitFor((state, history) =>
      history.some((event) => event.kind === "stream-ended") && state.resources[RESOURCE]
    );
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

Deno.test("admit() does not ask for a preference when every available device is needed", async () => {
  await using at = await bench();
  const stub = await at.plugin({ prefer: () => [] });
  await at.kubelet.admit({ name: "p", resource: RESOURCE, count: 2 });
  doesNotMatch(stub.calls.join(), /GetPreferredAllocation/);
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
  await rejects(at.kubelet.admit({ ...pod, count: 2 }), /holds 1 of it already/);
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
  match(lines.join("\n"), /checksum does not fit/);
});

for (const socket of ["stays", "goes"] as const) {
  Deno.test(`stop() cuts the plugin's stream; kubelet.sock ${socket}`, async () => {
    await using at = await bench();
    const stub = await at.plugin();
    await at.kubelet.stop({ socket });
    equal(existsSync(join(at.dir, "kubelet.sock")), socket === "stays");
    await stub.streamsGone();
    await rejects(stub.register({}, 5_000), (error: { code: number }) => error.code === 14);
    equal(at.kubelet.state().running, false);
  });
}

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

/** A kubelet that reads CDI specs from a directory with this one spec, and a plugin that answers `names`. */
async function withCdi(spec: string | null, ...names: string[]): Promise<Bench> {
  const made = new Bench({}, { cdi: true });
  if (spec !== null) {
    mkdirSync(made.cdi);
    writeFileSync(join(made.cdi, "rdma.json"), spec);
  }
  await made.kubelet.start();
  await made.plugin({ allocate: () => ({ cdi_devices: names.map((name) => ({ name })) }) });
  return made;
}
const SPEC = {
  cdiVersion: "0.6.0",
  kind: "example.com/rdma",
  containerEdits: { env: ["ONCE=yes"] },
  devices: ["a", "b"].map((name) => ({
    name,
    containerEdits: {
      deviceNodes: [{ path: `/dev/${name}`, permissions: "rw" }],
      mounts: [{ hostPath: `/h/${name}`, containerPath: `/c/${name}`, options: ["ro", "bind"] }],
      env: [`DEV_${name}=1=2`],
    },
  })),
};

Deno.test("CDI edits of a spec and its devices are merged into what the container sees", async () => {
  await using at = await withCdi(JSON.stringify(SPEC), "example.com/rdma=a", "example.com/rdma=b");
  const { view } = await at.kubelet.admit({ name: "p", resource: RESOURCE, count: 1 });
  deepEqual(view.devices.map((device) => device.containerPath), ["/dev/a", "/dev/b"]);
  deepEqual(view.devices[0], { containerPath: "/dev/a", hostPath: "/dev/a", permissions: "rw" });
  deepEqual(view.mounts[1], { hostPath: "/h/b", containerPath: "/c/b", readOnly: true });
  deepEqual({ ...view.envs }, { ONCE: "yes", DEV_a: "1=2", DEV_b: "1=2" });
});

Deno.test("a CDI name that no spec has, and a spec that is torn, keep the container from starting", async () => {
  await using unknown = await withCdi(JSON.stringify(SPEC), "example.com/rdma=z");
  const pod = { name: "p", resource: RESOURCE, count: 1 };
  await rejects(unknown.kubelet.admit(pod), /CDI device example\.com\/rdma=z cannot be resolved/);
  await using torn = await withCdi('{"cdiVersion":', "example.com/rdma=a");
  await rejects(torn.kubelet.admit(pod), /CDI spec .*rdma\.json cannot be read/);
  await using absent = await withCdi(null, "example.com/rdma=a");
  await rejects(absent.kubelet.admit(pod), /example\.com\/rdma=a cannot be resolved/);
});

/** A started kubelet with a plugin watcher. */
async function watching(): Promise<Bench> {
  const made = new Bench({}, { watcher: true });
  await made.kubelet.start();
  return made;
}

Deno.test("the plugin watcher registers a new socket, tells it so, and deregisters it when it goes", async () => {
  await using at = await watching();
  const stub = await at.stub({}, at.registry);
  await at.kubelet.waitFor((state) => state.resources[RESOURCE]?.allocatable === 2);
  equal(at.kubelet.state().resources[RESOURCE]?.via, "watcher");
  await stub.notification();
  deepEqual(stub.notified.map(({ plugin_registered }) => plugin_registered), [true]);
  rmSync(stub.socket);
  await at.kubelet.waitFor((state) => state.resources[RESOURCE]?.allocatable === 0);
});

Deno.test("the plugin watcher finds sockets that were there before it, and again after a restart", async () => {
  await using at = await watching();
  await at.kubelet.stop();
  await at.stub({}, at.registry);
  await at.kubelet.start();
  await at.kubelet.waitFor((state) => state.resources[RESOURCE]?.allocatable === 2);
  await at.kubelet.restart();
  await at.kubelet.waitFor((state) => state.resources[RESOURCE]?.allocatable === 2);
});

Deno.test("the plugin watcher dials the endpoint that GetInfo names, and ignores hidden sockets", async () => {
  await using at = await watching();
  const service = await at.stub({ endpoint: "elsewhere.sock" });
  const hidden = await at.stub({ endpoint: ".hidden.sock", resource: "example.com/hidden" }, at.registry);
  const front = await at.stub({ endpoint: "front.sock", info: { endpoint: service.socket } }, at.registry);
  await at.kubelet.waitFor((state) => state.resources[RESOURCE]?.endpoint === service.socket);
  await front.notification();
  deepEqual(hidden.calls, []);
});

const STRANGERS: readonly [string, NonNullable<StubOptions["info"]>, RegExp][] = [
  ["another type", { type: "CSIPlugin" }, /no handler.*CSIPlugin/],
  ["another version", { supported_versions: ["v1"] }, /v1beta1/],
  ["a bad name", { name: "rdma" }, /not an extended resource name/],
];
for (const [what, info, sentence] of STRANGERS) {
  Deno.test(`the plugin watcher tells a plugin of ${what} that it is not registered, and why`, async () => {
    await using at = await watching();
    const stub = await at.stub({ info }, at.registry);
    const status = await stub.notification();
    equal(status.plugin_registered, false);
    match(status.error, sentence);
  });
}

Deno.test("refuse() refuses the next Registers with its reason, as often as told", async () => {
  await using at = await bench();
  const stub = await at.stub();
  at.kubelet.refuse("the moon is full", { times: 2 });
  await rejects(stub.register(), /the moon is full/);
  await rejects(stub.register(), /the moon is full/);
  await stub.register();
  at.kubelet.refuse("for ever");
  await rejects(stub.register(), /for ever/);
  at.kubelet.calm();
  await stub.register();
});

Deno.test("slow() lets a caller's deadline pass, and close() does not wait for it", async () => {
  await using at = await bench();
  const stub = await at.stub();
  at.kubelet.slow(3_600_000, { where: "register", times: 1 });
  await rejects(stub.register({}, 50), (error: { code: number }) => error.code === 4);
  await stub.register();
});

Deno.test("slow() delays admission, and dying ends the delay with an error", async () => {
  await using at = await bench();
  await at.plugin();
  at.kubelet.slow(1, { where: "admission", times: 1 });
  await at.kubelet.admit({ name: "p", resource: RESOURCE, count: 1 });
  at.kubelet.slow(3_600_000);
  const pod = rejects(at.kubelet.admit({ name: "q", resource: RESOURCE, count: 1 }));
  await at.kubelet.stop();
  await pod;
});

Deno.test("dieInRegister() cuts the call without an answer and stays dead until start()", async () => {
  await using at = await bench();
  const stub = await at.stub();
  at.kubelet.dieInRegister();
  await rejects(stub.register({}, 5_000), (error: { code: number }) => [1, 13, 14].includes(error.code));
  await at.kubelet.waitFor((state, history) => !state.running && history.at(-1)?.kind === "stopped");
  ok(existsSync(join(at.dir, "kubelet.sock")));
  await at.kubelet.start();
  await at.plugin();
});

Deno.test("neverDial() answers well and never connects", async () => {
  await using at = await bench();
  const stub = await at.stub();
  at.kubelet.neverDial({ times: 1 });
  await stub.register();
  deepEqual(stub.calls, []);
  await stub.register();
  await at.kubelet.waitFor((state) => state.resources[RESOURCE]?.allocatable === 2);
});

Deno.test("stopReading() leaves the stream open until the plugin's writes pile up; resumeReading() takes the rest", async () => {
  await using at = await bench();
  const stub = await at.plugin();
  at.kubelet.stopReading();
  const many = healthy(...Array.from({ length: 2_000 }, (_, n) => createHash("sha1").update(String(n)).digest("hex")));
  let writes = 0;
  while (stub.list(many) && writes < 200) writes += 1;
  ok(writes < 200, "the plugin is told to wait");
  equal(at.kubelet.state().resources[RESOURCE]?.capacity, 2);
  at.kubelet.resumeReading();
  stub.list(healthy("last"));
  await at.kubelet.waitFor((state) => state.resources[RESOURCE]?.devices[0]?.id === "last");
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
