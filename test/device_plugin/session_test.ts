import { deepEqual, equal, match, ok } from "@std/assert";
import { mkdirSync } from "node:fs";
import { join } from "node:path";
import type { SessionStatus } from "../../src/device_plugin/session.ts";
import { identityOf, socketName } from "../../src/kubelet/socket_file.ts";
import { PluginEndpoint } from "../../sim/kubelet/endpoint.ts";
import { temporaryDir } from "../support/temp.ts";
import { count, kubeletIn, offered, registered, RESOURCE, rig } from "./session_rig.ts";

/** The directories of a kubelet with a plugin watcher. */
function watcherDirs() {
  const dir = temporaryDir();
  const [registry, plugins] = ["registry", "device-plugins"].map((name) => join(dir.path, name)) as [string, string];
  for (const path of [registry, plugins]) mkdirSync(path);
  return { registry, plugins, [Symbol.dispose]: () => dir[Symbol.dispose]() };
}

Deno.test("Session retries a refused registration with the kubelet's own words in the log, once", async () => {
  using dir = temporaryDir();
  await using kubelet = kubeletIn(dir.path);
  await kubelet.start();
  kubelet.refuse("the moon is full", { times: 3 });
  await using plugin = rig(dir.path);
  await kubelet.waitFor(offered(2), { what: "two devices" });
  await plugin.status(registered, "registered");
  const warnings = plugin.notes.filter((note) => note.level === "warn");
  deepEqual(warnings.map(({ code }) => code), ["registration-rejected"]);
  match(warnings[0]!.message, /: the moon is full/);
  match(plugin.notes.find(({ code }) => code === "registered")!.message, / 3 failed attempts/);
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
