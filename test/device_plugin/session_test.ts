import { deepEqual, equal, match, ok } from "@std/assert";
import { mkdirSync, readdirSync } from "node:fs";
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
  other.watch({ onList: () => {}, onEnd: () => {} });
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
