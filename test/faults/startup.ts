/**
 * Faults while the plugin starts and registers: it is killed at every step, and whoever comes next must not suffer.
 *
 * @module
 */
import { deepEqual, equal, match, ok } from "@std/assert";
import { status } from "@grpc/grpc-js";
import { lstatSync, mkdirSync, symlinkSync, writeFileSync } from "node:fs";
import { createServer } from "node:net";
import { join } from "node:path";
import { identityOf, socketName, temporaryPath } from "../../src/kubelet/socket_file.ts";
import type { FakeKubelet, PluginProcess } from "../../sim/mod.ts";
import { count, fakeKubelet, offered, RESOURCE } from "../support/kubelet.ts";
import { type OnHost, onHost } from "../support/plugin.ts";
import { deadSocket } from "../support/dead_socket.ts";
import { within } from "../support/temp.ts";
import { startIn } from "../support/wrapped.ts";
import { dieAt, type Step } from "./die_at.ts";
import type { Fault } from "./fault.ts";
import { endsCleanly, goKubelet, inFlight, offeredTo, ours, quiet, said, servesAPod, stopped } from "./kubelet_rig.ts";

const HOST = "connectx-ib-dual";
const DEVICE = "mlx5_0";
const SOCKET = socketName(RESOURCE);

/** What a successor owes after any of these deaths: it serves, leaves no litter, and ends as if nothing had been. */
async function successorServes(place: OnHost, kubelet: FakeKubelet): Promise<PluginProcess> {
  const registrations = count(kubelet, "registered");
  const plugin = place.start();
  await offered(kubelet, 1);
  await plugin.logged(/code=registered/);
  equal(count(kubelet, "registered"), registrations + 1);
  await servesAPod(kubelet, DEVICE);
  deepEqual(ours(place.kubeletDir), [SOCKET], "no litter");
  equal(said(plugin, / (WARN|ERROR) /).join("\n"), "", plugin.log.join("\n"));
  quiet(plugin, 6);
  return plugin;
}

async function killed(plugin: PluginProcess): Promise<void> {
  const ended = await within(plugin.ended, "the plugin's death");
  equal(ended.signal, "SIGKILL", plugin.log.join("\n"));
}

/** Killed by the library of die_at.ts, with a kubelet that is up. */
function diesAt(what: string, step: Omit<Step, "deed">, left: RegExp | null): Fault {
  return {
    name: `kill -9 ${what}: the successor serves`,
    injected: `SIGKILL ${step.when} ${step.call}(2), by a library preloaded into the plugin`,
    promise: "The next plugin registers and serves; what the dead one left in the kubelet's directory is gone.",
    needs: ["gcc"],
    async run() {
      await using place = onHost(HOST);
      await using kubelet = await fakeKubelet(place.kubeletDir);
      await using first = startIn(dieAt(place.dir, { ...step, deed: "die" }), place, []);
      await killed(first);
      equal(count(kubelet, "registered"), 0);
      if (left === null) deepEqual(ours(place.kubeletDir), []);
      else match(ours(place.kubeletDir).join(), left);
      const plugin = await successorServes(place, kubelet);
      await endsCleanly(plugin, place.kubeletDir);
    },
  };
}

const HIDDEN = /^\.rdma[0-9a-z]{8}$/;
/** The name of one Register call beside the socket's own. */
const REGISTERING = /^\.rdma[0-9a-z]{8},rdma-tencent\.com_rdma\.sock$/;
const IN_PLACE = /^rdma-tencent\.com_rdma\.sock$/;

export const STARTUP: readonly Fault[] = [
  diesAt("before anything is bound", { when: "before", call: "bind", path: "/device-plugins/" }, null),
  diesAt("between bind and listen", { when: "after", call: "bind", path: "/device-plugins/" }, HIDDEN),
  diesAt("with the hidden socket listening", { when: "before", call: "rename", path: "/device-plugins/" }, HIDDEN),
  diesAt(
    "with the socket just moved into place",
    { when: "after", call: "rename", path: "/device-plugins/" },
    IN_PLACE,
  ),
  diesAt("before kubelet.sock is dialled", { when: "before", call: "connect", path: "/kubelet.sock" }, REGISTERING),
  diesAt("with kubelet.sock dialled", { when: "after", call: "connect", path: "/kubelet.sock" }, REGISTERING),
  {
    name: "kill -9 while there is no kubelet: the successor takes the socket and registers when one comes",
    injected: "SIGKILL when the log says that the plugin waits for the kubelet",
    promise: "The next plugin replaces the dead socket; the kubelet that comes sees one registration.",
    async run() {
      await using place = onHost(HOST);
      const first = place.start();
      await first.logged(/code=no-kubelet-socket/);
      first.kill("SIGKILL");
      await killed(first);
      const socket = join(place.kubeletDir, SOCKET);
      const dead = identityOf(socket);
      const second = place.start();
      await second.logged(/code=no-kubelet-socket/);
      ok(identityOf(socket) !== dead, "the successor has a socket of its own");
      await using kubelet = await fakeKubelet(place.kubeletDir);
      await offered(kubelet, 1);
      await second.logged(/code=registered/);
      await servesAPod(kubelet, DEVICE);
      equal(said(second, /code=no-kubelet-socket/).length, 1);
      await endsCleanly(second, place.kubeletDir);
    },
  },
  {
    name: "kill -9 inside Register: the kubelet refuses the dead one and takes the successor",
    injected: "SIGKILL while a slow kubelet has the Register call in hand",
    promise: "The kubelet cannot dial the dead plugin and says so; the next plugin is registered.",
    async run() {
      await using place = onHost(HOST);
      await using kubelet = await fakeKubelet(place.kubeletDir, { dialTimeoutMs: 300 });
      kubelet.slow(300, { times: 1 });
      const first = place.start();
      await kubelet.waitFor((_, history) => history.some((event) => event.kind === "register"), {
        what: "the Register call",
      });
      first.kill("SIGKILL");
      await killed(first);
      await kubelet.waitFor((_, history) => history.some((event) => event.kind === "refused"), { what: "a refusal" });
      equal(count(kubelet, "list"), 0);
      const plugin = await successorServes(place, kubelet);
      await endsCleanly(plugin, place.kubeletDir);
    },
  },
  {
    name: "kill -9 of a registered plugin: its devices turn unhealthy at once, and the successor's are the same",
    injected: "SIGKILL with the kubelet's ListAndWatch stream open",
    promise: "The kubelet sees the end of the stream and offers no device; the next plugin brings back the same IDs.",
    async run() {
      await using place = onHost("connectx-roce-vfs");
      await using kubelet = await fakeKubelet(place.kubeletDir);
      const first = place.start();
      await offered(kubelet, 10);
      // The stream is open before the Register call has been answered.
      await first.logged(/code=registered/);
      const ids = () => kubelet.state().resources[RESOURCE]!.devices.map((device) => device.id);
      const before = ids();
      first.kill("SIGKILL");
      await killed(first);
      await offered(kubelet, 0);
      equal(kubelet.state().resources[RESOURCE]!.capacity, 10);
      deepEqual(ours(place.kubeletDir), [SOCKET], "the dead one's");
      const plugin = place.start();
      await offered(kubelet, 10);
      deepEqual(ids(), before);
      await servesAPod(kubelet, DEVICE);
      await endsCleanly(plugin, place.kubeletDir);
    },
  },
  {
    name: "kill -9 with an Allocate in flight: the pod is refused, nothing is booked, and the next try succeeds",
    injected: "SIGSTOP, an Allocate on the wire, SIGKILL",
    promise: "The kubelet gets an error for this one call; the device is free for the next plugin's answer.",
    needs: ["go"],
    async run() {
      await using place = onHost(HOST);
      const go = await goKubelet(place.kubeletDir);
      await using kubelet = go.kubelet;
      const first = place.start();
      await offeredTo(go, 1);
      {
        using _held = await stopped(first.pid);
        const { failed } = await inFlight(go, () => kubelet.allocate(RESOURCE, [[DEVICE]]));
        first.kill("SIGKILL");
        await killed(first);
        match(await within(failed, "the kubelet's error"), new RegExp(`code ${status.UNAVAILABLE}`));
      }
      await kubelet.waitFor((event) => event.event === "stream-ended", { what: "the end of the stream" });
      const since = kubelet.events.length;
      const plugin = place.start();
      await kubelet.waitFor((event) => event.event === "list" && event.devices[0]?.health === "Healthy", { since });
      await plugin.logged(/code=registered/);
      match(JSON.stringify(await kubelet.allocate(RESOURCE, [[DEVICE]])), /uverbs0/);
      equal(kubelet.events.filter((event) => event.event === "registered").length, 2);
      quiet(plugin, 6);
      await endsCleanly(plugin, place.kubeletDir);
    },
  },
  {
    name: "Hidden sockets of plugins that were killed are cleared away, and no foreign file is",
    injected: "Twenty dead hidden sockets of the same endpoint, and foreign files under similar names",
    promise: "Dead hidden sockets of the same resource do not pile up. Whatever lives, is no socket, or belongs to " +
      "another resource stays.",
    async run() {
      await using place = onHost(HOST);
      await using kubelet = await fakeKubelet(place.kubeletDir);
      const socket = join(place.kubeletDir, SOCKET);
      for (let i = 0; i < 20; i++) await deadSocket(temporaryPath(socket));
      const strangers = {
        alive: temporaryPath(socket),
        other: temporaryPath(join(place.kubeletDir, socketName("example.com/other"))),
        foreign: join(place.kubeletDir, "other-plugin.sock"),
        file: temporaryPath(socket),
        directory: temporaryPath(socket),
        link: temporaryPath(socket),
      };
      const alive = createServer((connection) => connection.destroy());
      await new Promise<void>((resolve) => alive.listen(strangers.alive, resolve));
      await deadSocket(strangers.other);
      await deadSocket(strangers.foreign);
      writeFileSync(strangers.file, "precious");
      mkdirSync(strangers.directory);
      symlinkSync(strangers.foreign, strangers.link);
      const before = Object.values(strangers).map(identityOf);
      const plugin = place.start();
      await offered(kubelet, 1);
      await plugin.logged(/code=registered/);
      deepEqual(Object.values(strangers).map(identityOf), before);
      equal(ours(place.kubeletDir).length, Object.keys(strangers).length, "five strangers of six, and the socket");
      equal(said(plugin, /code=sockets-swept/).length, 1);
      await servesAPod(kubelet, DEVICE);
      plugin.kill("SIGTERM");
      equal((await plugin.ended).code, 0);
      deepEqual(Object.values(strangers).map(identityOf), before);
      await new Promise<void>((resolve) => void alive.close(() => resolve()));
    },
  },
  {
    name: "A kubelet that empties its directory in the instant between bind and rename: one line, and another try",
    injected: "unlink(2) of the hidden socket before rename(2), by a library preloaded into the plugin",
    promise: "The plugin says that its socket was removed while it was being made, and makes another within a second.",
    needs: ["gcc"],
    async run() {
      await using place = onHost(HOST);
      await using kubelet = await fakeKubelet(place.kubeletDir);
      const step: Step = { when: "before", call: "rename", path: "/device-plugins/", deed: "wipe" };
      await using plugin = startIn(dieAt(place.dir, step), place, []);
      await offered(kubelet, 1);
      equal(said(plugin, /code=socket-failed/).length, 1);
      await plugin.logged(/code=registered/);
      ok(lstatSync(join(place.kubeletDir, SOCKET)).isSocket());
      await servesAPod(kubelet, DEVICE);
      quiet(plugin, 8);
      await endsCleanly(plugin, place.kubeletDir);
    },
  },
];
