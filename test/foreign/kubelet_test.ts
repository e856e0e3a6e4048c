/** The foreign kubelets themselves, against the stub plugin: what they say here is what other tests may rely on. */
import { deepEqual, equal, match, ok, rejects } from "@std/assert";
import { existsSync, mkdtempSync, rmSync } from "node:fs";
import { join } from "node:path";
import { buildGoKubelet, type ForeignError, type ForeignEvent, ForeignKubelet } from "../support/foreign.ts";
import { needs } from "../support/need.ts";
import { healthy, PluginStub, RESOURCE, type StubOptions } from "../support/plugin_stub.ts";
import { socketParent } from "../../sim/host/temporary.ts";

const isList = (event: ForeignEvent): event is ForeignEvent & { event: "list" } => event.event === "list";

const KINDS = [
  { name: "Go", need: needs("go"), start: async (dir: string) => ForeignKubelet.go(await buildGoKubelet(), dir) },
  { name: "Python", need: needs("python3-grpcio"), start: (dir: string) => ForeignKubelet.python(dir) },
] as const;

/** A foreign kubelet with the stub registered and its first list read. */
async function withStub(
  start: (dir: string) => Promise<ForeignKubelet>,
  options: StubOptions,
  body: (kubelet: ForeignKubelet, stub: PluginStub) => Promise<void>,
): Promise<void> {
  const dir = mkdtempSync(join(socketParent(), "foreign-"));
  const kubelet = await start(dir);
  try {
    const stub = await PluginStub.listen(dir, options);
    try {
      await stub.register();
      await kubelet.waitFor(isList, { what: "the first list" });
      await body(kubelet, stub);
    } finally {
      await stub.close();
    }
  } finally {
    await kubelet.close();
    rmSync(dir, { recursive: true });
  }
}

for (const { name, need, start } of KINDS) {
  Deno.test({
    name: `the ${name} kubelet dials back as localhost inside Register and reads lists`,
    ...need,
    fn: () =>
      withStub(start, { prefer: () => [] }, async (kubelet, stub) => {
        equal(stub.authority, "localhost");
        const registered = kubelet.events.find((event) => event.event === "registered");
        deepEqual(registered, {
          event: "registered",
          resource: RESOURCE,
          endpoint: "stub.sock",
          options: { preStartRequired: false, preferredAvailable: true },
          requestOptions: { preStartRequired: false, preferredAvailable: false },
        });
        stub.list([{ ID: "x", health: "Unhealthy", topology: { nodes: [{ ID: 0 }, { ID: 1 }] } }]);
        const list = await kubelet.waitFor(isList, { since: kubelet.events.length });
        deepEqual(list.devices, [{ id: "x", health: "Unhealthy", numa: [0, 1] }]);
        await rejects(stub.register({ version: "v1" }), (error: { code: number }) => error.code === 2);
      }),
  });

  Deno.test({
    name: `the ${name} kubelet makes every call and tells errors with code and words`,
    ...need,
    fn: () => {
      const started: string[] = [];
      const options: StubOptions = {
        devices: healthy("a", "b", "c"),
        prefer: (available, must, size) => [...must, ...available].slice(0, size),
        preStart: (ids) => started.push(ids.join()),
        allocate: (ids) => {
          if (ids.includes("bad")) throw Object.assign(new Error("bad is unknown"), { code: 5 });
          return {
            envs: { IDS: ids.join() },
            annotations: { k: "v" },
            devices: [{ host_path: "/dev/h", container_path: "/dev/c", permissions: "rw" }],
            mounts: [{ host_path: "/h", container_path: "/c", read_only: true }],
            cdi_devices: [{ name: "example.com/rdma=a" }],
          };
        },
      };
      return withStub(start, options, async (kubelet) => {
        const responses = await kubelet.allocate(RESOURCE, [["a"], ["b", "c"]]);
        deepEqual(responses.map(({ envs }) => envs), [{ IDS: "a" }, { IDS: "b,c" }]);
        deepEqual(responses[0], {
          envs: { IDS: "a" },
          annotations: { k: "v" },
          devices: [{ hostPath: "/dev/h", containerPath: "/dev/c", permissions: "rw" }],
          mounts: [{ hostPath: "/h", containerPath: "/c", readOnly: true }],
          cdiDevices: ["example.com/rdma=a"],
        });
        deepEqual(await kubelet.preferred(RESOURCE, { available: ["a", "b"], mustInclude: ["b"], size: 2 }), [
          "b",
          "a",
        ]);
        deepEqual(await kubelet.options(RESOURCE), { preStartRequired: true, preferredAvailable: true });
        await kubelet.preStart(RESOURCE, ["a", "b"]);
        deepEqual(started, ["a,b"]);
        await rejects(kubelet.allocate(RESOURCE, [["bad"]]), (error: ForeignError) => {
          equal(error.code, 5);
          match(error.message, /bad is unknown/);
          return true;
        });
        await rejects(kubelet.allocate("example.com/other", [["a"]]), /no plugin of/);
      });
    },
  });

  Deno.test({
    name: `the ${name} kubelet restarts on an emptied directory and loses its streams`,
    ...need,
    fn: () =>
      withStub(start, {}, async (kubelet, stub) => {
        const before = kubelet.events.length;
        await kubelet.restart();
        await stub.streamsGone();
        ok(!existsSync(stub.socket));
        ok(existsSync(join(stub.dir, "kubelet.sock")));
        await rejects(kubelet.allocate(RESOURCE, [["a"]]), /no plugin of/);
        const again = await PluginStub.listen(stub.dir, { endpoint: "again.sock" });
        await again.register();
        await kubelet.waitFor(isList, { since: before });
        await kubelet.dropStream(RESOURCE);
        await kubelet.waitFor((event) => event.event === "stream-ended", { since: before });
        await again.streamsGone();
        await again.close();
      }),
  });
}

Deno.test({
  name: "the Go kubelet measures sequential Allocates, one connection per client",
  ...needs("go"),
  fn: () =>
    withStub(KINDS[0].start, {}, async (kubelet, stub) => {
      const result = await kubelet.bench(RESOURCE, ["a"], 20, 2);
      equal(result.n * result.clients, 40);
      equal(stub.calls.filter((call) => call === "Allocate").length, 40);
      ok(0 < result.p50us && result.p50us <= result.p99us && result.p99us <= result.maxus, JSON.stringify(result));
      ok(result.perSecond > 0);
    }),
});
