import { deepEqual, equal, match, ok } from "@std/assert";
import { lstatSync, mkdirSync, readdirSync } from "node:fs";
import { join } from "node:path";
import type { SessionStatus } from "../../src/device_plugin/session.ts";
import { identityOf, socketName } from "../../src/kubelet/socket_file.ts";
import { PluginEndpoint } from "../../sim/kubelet/endpoint.ts";
import { temporaryDir } from "../support/temp.ts";
import type { FakeKubelet } from "../../sim/kubelet/kubelet.ts";
import { count, kubeletIn, offered, registered, RESOURCE, rig } from "./session_rig.ts";

/** A test with a kubelet that runs on a directory of its own. */
function withKubelet(name: string, fn: (kubelet: FakeKubelet, dir: string) => Promise<void>): void {
  Deno.test(name, async () => {
    using dir = temporaryDir();
    await using kubelet = kubeletIn(dir.path);
    await kubelet.start();
    await fn(kubelet, dir.path);
  });
}

/** The directories of a kubelet with a plugin watcher. */
function watcherDirs() {
  const dir = temporaryDir();
  const [registry, plugins] = ["registry", "device-plugins"].map((name) => join(dir.path, name)) as [string, string];
  for (const path of [registry, plugins]) mkdirSync(path);
  return { registry, plugins, [Symbol.dispose]: () => dir[Symbol.dispose]() };
}

withKubelet(
  "Session registers, and the kubelet that dials back inside Register gets its answer",
  async (kubelet, dir) => {
    await using plugin = rig(dir);
    await kubelet.waitFor(offered(2), { what: "two devices" });
    await plugin.status(registered, "registered");
    deepEqual(await kubelet.options(RESOURCE), { pre_start_required: false, get_preferred_allocation_available: true });
    equal(lstatSync(join(dir, socketName(RESOURCE))).mode & 0o777, 0o600);
    plugin.devices.set("a", "b", "c");
    await kubelet.waitFor(offered(3), { what: "three devices" });
    equal(kubelet.state().resources[RESOURCE]!.lists, 2);
  },
);

Deno.test("Session waits for a kubelet that is not there, says so once, and registers when it comes", async () => {
  using dir = temporaryDir();
  const kubeletDir = join(dir.path, "device-plugins");
  await using plugin = rig(kubeletDir);
  await plugin.status((status) => status.code === "no-kubelet-dir", "waits for the directory");
  mkdirSync(kubeletDir);
  await plugin.status((status) => status.code === "no-kubelet-socket", "waits for kubelet.sock");
  await using kubelet = kubeletIn(kubeletDir);
  await kubelet.start();
  await kubelet.waitFor(offered(2), { what: "two devices" });
  equal(plugin.notes.filter(({ level, code }) => level === "info" && code === "no-kubelet-socket").length, 1);
});

withKubelet(
  "Session serves and registers again when the kubelet restarts and wipes the directory",
  async (kubelet, dir) => {
    await using plugin = rig(dir);
    for (let restart = 1; restart <= 3; restart++) {
      await kubelet.waitFor(offered(2), { what: "two devices" });
      await plugin.status(registered, "registered");
      const before = identityOf(join(dir, socketName(RESOURCE)));
      await kubelet.restart({ socket: restart === 2 ? "stays" : "goes" });
      await kubelet.waitFor(offered(2), { what: `two devices after restart ${restart}` });
      ok(identityOf(join(dir, socketName(RESOURCE))) !== before, "the wiped socket must be another one now");
    }
  },
);

withKubelet(
  "Session retries a refused registration with the kubelet's own words in the log, once",
  async (kubelet, dir) => {
    kubelet.refuse("the moon is full", { times: 3 });
    await using plugin = rig(dir);
    await kubelet.waitFor(offered(2), { what: "two devices" });
    await plugin.status(registered, "registered");
    const warnings = plugin.notes.filter((note) => note.level === "warn");
    deepEqual(warnings.map(({ code }) => code), ["registration-rejected"]);
    match(warnings[0]!.message, /: the moon is full/);
    match(plugin.notes.find(({ code }) => code === "registered")!.message, / 3 failed attempts/);
  },
);

withKubelet("Session registers again when the kubelet drops its stream", async (kubelet, dir) => {
  await using plugin = rig(dir);
  await plugin.status(registered, "registered");
  kubelet.dropStream(RESOURCE);
  await kubelet.waitFor((state) => offered(2)(state) && count(kubelet, "registered") === 2, {
    what: "registered twice",
  });
});

Deno.test("Session registers again when the kubelet drops its stream and another program's is still open", async () => {
  using dir = temporaryDir();
  await using kubelet = kubeletIn(dir.path);
  await kubelet.start();
  await using plugin = rig(dir.path);
  await plugin.status(registered, "registered");
  const other = await PluginEndpoint.connect(join(dir.path, socketName(RESOURCE)), 5_000, new AbortController().signal);
  other.watch({ onList: () => {}, onEnd: () => {} }, false);
  await plugin.status(({ streams }) => streams === 2, "two streams");
  kubelet.dropStream(RESOURCE);
  await kubelet.waitFor((state) => offered(2)(state) && count(kubelet, "registered") === 2, {
    what: "registered twice",
  });
  other.close();
});

for (const endpointKeys of ["resource", "path"] as const) {
  Deno.test(`Session registers on a live stream and takes over from another, plugins identified by ${endpointKeys}`, async () => {
    using dir = temporaryDir();
    await using kubelet = kubeletIn(dir.path, { endpointKeys });
    await kubelet.start();
    await using first = rig(dir.path);
    await first.status(registered, "registered");
    first.session.reregister();
    await first.status((status) => registered(status) && status.registrations === 2, "registered twice");
    await using second = rig(dir.path, { kubeletStays: true });
    await second.status(registered, "the newer one registered");
    await first.status((status) => status.phase === "standby", "the older one on standby");
    const endpoints = kubelet.history.flatMap((event) => event.kind === "register" ? [event.endpoint] : []);
    equal(new Set(endpoints).size, 3, `each call has a name of its own: ${endpoints}`);
    deepEqual(readdirSync(dir.path).sort(), ["kubelet.sock", "kubelet_internal_checkpoint", socketName(RESOURCE)]);
    const since = kubelet.history.length;
    await first.session.close();
    second.devices.set("a", "b", "c");
    await kubelet.waitFor(offered(3), { what: "three devices, of the newer one" });
    await second.status(registered, "still, or again");
    equal(count(kubelet, "refused"), 0);
    const gaps = kubelet.history.slice(since).filter(({ kind }) => kind === "stream-ended").length;
    ok(endpointKeys === "path" ? gaps === 0 : gaps > 0, `${gaps} times without devices`);
  });
}

withKubelet("Session removes its socket when it is closed, and ends its streams", async (kubelet, dir) => {
  const plugin = rig(dir, { kubeletStays: true });
  await kubelet.waitFor(offered(2), { what: "two devices" });
  await plugin.status(registered, "registered");
  await plugin[Symbol.asyncDispose]();
  equal(identityOf(join(dir, socketName(RESOURCE))), null);
  await kubelet.waitFor((state) => state.resources[RESOURCE]!.endpoint === null, { what: "the stream has ended" });
  equal(plugin.session.status.phase, "stopped");
});

withKubelet("Session sends a kubelet that does not read the latest list only", async (kubelet, dir) => {
  await using plugin = rig(dir);
  await plugin.status(registered, "registered");
  await kubelet.waitFor(offered(2), { what: "two devices" });
  kubelet.stopReading();
  const many = Array.from({ length: 5_000 }, (_, i) => `device-with-a-long-name-${i}`);
  for (let i = 0; i < 50; i++) plugin.devices.set(...many, `last-${i}`);
  kubelet.resumeReading();
  await kubelet.waitFor(
    (state) => state.resources[RESOURCE]!.devices.some((device) => device.id === "last-49"),
    { what: "the last of fifty lists" },
  );
  ok(
    kubelet.state().resources[RESOURCE]!.lists < 20,
    `${kubelet.state().resources[RESOURCE]!.lists} lists were queued`,
  );
});

Deno.test("Session is found by the plugin watcher, and shows a new socket after a refusal", async () => {
  using dir = watcherDirs();
  const { registry, plugins } = dir;
  await using kubelet = kubeletIn(plugins, { pluginsRegistry: registry });
  await kubelet.start();
  kubelet.refuse("not today", { times: 1 });
  await using plugin = rig(plugins, { mode: "auto", registryDir: registry });
  await kubelet.waitFor(offered(2), { what: "two devices" });
  await plugin.status(registered, "registered");
  equal(plugin.session.status.via, "watcher");
  match(plugin.notes.find(({ code }) => code === "registration-rejected")!.message, /not today/);
});

Deno.test("Session that was found by the plugin watcher is found again after a restart, a lost stream and a request", async () => {
  using dir = watcherDirs();
  const { registry, plugins } = dir;
  await using kubelet = kubeletIn(plugins, { pluginsRegistry: registry });
  await kubelet.start();
  await using plugin = rig(plugins, { mode: "auto", registryDir: registry });
  await plugin.status(registered, "registered");
  const times = (n: number) => (status: SessionStatus) => registered(status) && status.registrations === n;
  const socket = join(registry, socketName(RESOURCE));
  const first = identityOf(socket);
  for (const end of ["stays", "goes"] as const) {
    await kubelet.stop({ socket: end });
    await plugin.status((status) => status.phase === "waiting", "it waits for the kubelet");
    equal(identityOf(socket), first, "a kubelet that starts finds what is there");
    await kubelet.start();
    await plugin.status(times(end === "stays" ? 2 : 3), `registered after a kubelet whose socket ${end}`);
  }
  kubelet.dropStream(RESOURCE);
  await plugin.status(times(4), "registered after a lost stream");
  const before = identityOf(socket);
  plugin.session.reregister();
  await plugin.status(times(5), "registered because it was asked to");
  ok(identityOf(socket) !== before, "the watcher was shown another socket");
  await kubelet.waitFor(offered(2), { what: "two devices" });
  equal(plugin.session.status.via, "watcher");
});

Deno.test("Session in auto mode falls back to Register when no watcher comes", async () => {
  using dir = watcherDirs();
  const { registry, plugins } = dir;
  await using kubelet = kubeletIn(plugins);
  await kubelet.start();
  await using plugin = rig(plugins, { mode: "auto", registryDir: registry, timing: { streamTimeoutMs: 50 } });
  await kubelet.waitFor(offered(2), { what: "two devices by Register" });
  equal(plugin.session.status.via, "socket");
  equal(identityOf(join(registry, socketName(RESOURCE))), null);
});

Deno.test("Session says when a path is too long for a socket", async () => {
  using dir = temporaryDir();
  const deep = join(dir.path, "d".repeat(90));
  mkdirSync(deep);
  await using plugin = rig(deep);
  await plugin.status((status) => status.code === "socket-failed", "refuses the path");
});

Deno.test("Session in auto mode falls back to Register when it can make no socket for the watcher", async () => {
  using dir = watcherDirs();
  const { registry, plugins } = dir;
  // As on a registry that is mounted read-only: every attempt fails, whoever makes it.
  mkdirSync(join(registry, socketName(RESOURCE)));
  await using kubelet = kubeletIn(plugins);
  await kubelet.start();
  await using plugin = rig(plugins, { mode: "auto", registryDir: registry });
  await kubelet.waitFor(offered(2), { what: "two devices by Register" });
  equal(plugin.session.status.via, "socket");
});
