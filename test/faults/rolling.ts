/**
 * Two plugin processes with one resource name, as in a rolling update, and every order in which they can leave.
 *
 * @module
 */
import { deepEqual, equal, ok } from "@std/assert";
import { join } from "node:path";
import { identityOf, socketName } from "../../src/kubelet/socket_file.ts";
import type { FakeKubelet, PluginProcess } from "../../sim/mod.ts";
import { count, fakeKubelet, offered, RESOURCE } from "../support/kubelet.ts";
import { type OnHost, onHost } from "../support/plugin.ts";
import { eventually } from "../support/eventually.ts";
import type { Fault } from "./fault.ts";
import { endsCleanly, filesAsBefore, filesAtRest, ours, quiet, said, saidOnce, servesAPod } from "./kubelet_rig.ts";

const HOST = "connectx-roce-vfs";
const DEVICES = 10;
const DEVICE = "mlx5_2";
const SOCKET = socketName(RESOURCE);
const STANDBY = /code=standby/;

/** The kubelet has taken `n` registrations or more, and has got all devices from the plugin of the last one. */
async function registrations(kubelet: FakeKubelet, n: number): Promise<void> {
  await kubelet.waitFor((_, history) => {
    const last = history.findLastIndex((event) => event.kind === "registered");
    return count(kubelet, "registered") >= n &&
      history.slice(last + 1).some((event) => event.kind === "list" && event.devices.length === DEVICES);
  }, { what: `${n} registrations and ${DEVICES} devices` });
}

/** Starts a newer one beside `old` and waits until the change is over on all three sides. */
async function overtake(place: OnHost, kubelet: FakeKubelet, old: PluginProcess): Promise<PluginProcess> {
  const before = count(kubelet, "registered");
  const plugin = place.start();
  await plugin.logged(/code=registered/);
  await registrations(kubelet, before + 1);
  await old.logged(STANDBY);
  return plugin;
}

/** The least number of devices that pods could have had from event `since` on. */
function leastOffered(kubelet: FakeKubelet, since: number): number {
  const lists = kubelet.history.slice(since).flatMap((event) =>
    event.kind === "list" ? [event.devices.filter((device) => device.health === "Healthy").length] : []
  );
  return Math.min(DEVICES, ...lists);
}

export const ROLLING: readonly Fault[] = [
  {
    name:
      "Rolling update: the new plugin has the resource, and the old one leaves without touching the new one's socket",
    injected: "A second plugin process with the same resource name; SIGTERM to the first",
    promise:
      "The old one says once that it is on standby, and ends with status 0. The kubelet disconnects the new one at that " +
      "moment, for it takes the end of any stream of the resource for the end of the one in charge; the new one " +
      "registers again at once.",
    async run() {
      await using place = onHost(HOST);
      await using kubelet = await fakeKubelet(place.kubeletDir);
      const old = place.start();
      await registrations(kubelet, 1);
      const since = kubelet.history.length;
      const plugin = await overtake(place, kubelet, old);
      const socket = identityOf(join(place.kubeletDir, SOCKET));
      const files = await filesAtRest(plugin.pid);
      await endsCleanly(old, place.kubeletDir, [SOCKET]);
      equal(identityOf(join(place.kubeletDir, SOCKET)), socket, "the new one's socket");
      await registrations(kubelet, 3);
      equal(leastOffered(kubelet, since), DEVICES);
      equal(kubelet.history.slice(since).filter((event) => event.kind === "stream-ended").length, 1);
      await servesAPod(kubelet, DEVICE);
      await filesAsBefore(plugin.pid, files);
      saidOnce(old, STANDBY);
      quiet(old, 7);
      quiet(plugin, 7);
      equal(count(kubelet, "registered"), 3);
      await endsCleanly(plugin, place.kubeletDir);
    },
  },
  {
    name: "Rolling update with kubelet 1.37: both plugins are connected for a while, and devices are never away",
    injected: "A kubelet that refuses a socket path which is connected; a second plugin process; SIGTERM to the first",
    promise: "Each registration names the socket by a name of its own, so none is refused; the end of the old one's " +
      "stream is no news, and the new one need not register again. SIGHUP registers again on a live stream.",
    async run() {
      await using place = onHost(HOST);
      await using kubelet = await fakeKubelet(place.kubeletDir, { endpointKeys: "path" });
      const old = place.start();
      await registrations(kubelet, 1);
      const since = kubelet.history.length;
      const plugin = await overtake(place, kubelet, old);
      await endsCleanly(old, place.kubeletDir, [SOCKET]);
      await servesAPod(kubelet, DEVICE);
      plugin.kill("SIGHUP");
      await registrations(kubelet, 3);
      await eventually(() => said(plugin, /code=registered/).length === 2, "the answer to be taken in");
      deepEqual(ours(place.kubeletDir), [SOCKET]);
      await servesAPod(kubelet, DEVICE);
      equal(leastOffered(kubelet, since), DEVICES);
      equal(count(kubelet, "refused"), 0);
      equal(count(kubelet, "stream-ended"), 0);
      saidOnce(old, STANDBY);
      quiet(old, 7);
      quiet(plugin, 9);
      await endsCleanly(plugin, place.kubeletDir);
    },
  },
  {
    name: "Rolling update gone wrong: kill -9 of the new plugin, and the old one takes the resource back",
    injected: "SIGKILL to the newer of two plugins; its socket file stays",
    promise: "The one on standby probes the other every second; it serves and registers again, with the same devices.",
    async run() {
      await using place = onHost(HOST);
      await using kubelet = await fakeKubelet(place.kubeletDir);
      const old = place.start();
      await registrations(kubelet, 1);
      const plugin = await overtake(place, kubelet, old);
      plugin.kill("SIGKILL");
      await plugin.ended;
      // The old one may be back before anybody could see a kubelet without devices: its memory is asked.
      await eventually(() => count(kubelet, "stream-ended") >= 1, "the kubelet to lose the stream");
      await registrations(kubelet, 3);
      await servesAPod(kubelet, DEVICE);
      // Until then its socket has a second name, by which it is registered. Or three times: the end of the killed one's
      // stream may reach the kubelet after the old one's registration.
      await eventually(() => said(old, /code=registered/).length >= 2, "the old one to know of it");
      await eventually(() => ours(place.kubeletDir).join() === SOCKET, "its socket alone");
      saidOnce(old, STANDBY);
      quiet(old, 7);
      await endsCleanly(old, place.kubeletDir);
    },
  },
  {
    name: "Rolling update: kill -9 of the old plugin, on standby, costs the new one a registration",
    injected: "SIGKILL to the older of two plugins",
    promise: "The kubelet disconnects the new plugin, as above; it registers again at once, on the same socket.",
    async run() {
      await using place = onHost(HOST);
      await using kubelet = await fakeKubelet(place.kubeletDir);
      const old = place.start();
      await registrations(kubelet, 1);
      const plugin = await overtake(place, kubelet, old);
      const socket = identityOf(join(place.kubeletDir, SOCKET));
      old.kill("SIGKILL");
      equal((await old.ended).signal, "SIGKILL");
      await registrations(kubelet, 3);
      await filesAtRest(plugin.pid);
      equal(identityOf(join(place.kubeletDir, SOCKET)), socket);
      await servesAPod(kubelet, DEVICE);
      quiet(plugin, 7);
      await endsCleanly(plugin, place.kubeletDir);
    },
  },
  {
    name: "Three plugins in a row: the newest has the resource; when it dies one of the others takes it, and only one",
    injected: "Three plugin processes, SIGKILL to the third, SIGTERM to whichever of the others serves then",
    promise: "Exactly one is registered at the end of every step; the others are on standby and do not take turns.",
    async run() {
      await using place = onHost(HOST);
      await using kubelet = await fakeKubelet(place.kubeletDir);
      const first = place.start();
      await registrations(kubelet, 1);
      const second = await overtake(place, kubelet, first);
      const third = await overtake(place, kubelet, second);
      third.kill("SIGKILL");
      await third.ended;
      await eventually(() => count(kubelet, "stream-ended") >= 1, "the kubelet to lose the stream");
      await offered(kubelet, DEVICES);
      // Both saw the death. Whoever was overtaken in it says so; one may have registered twice by then.
      const turns = () => [first, second].map((plugin) => said(plugin, STANDBY).length);
      await filesAtRest(first.pid);
      await filesAtRest(second.pid);
      const taken = count(kubelet, "registered") - 3;
      ok(taken >= 1 && taken <= 3, `${taken} registrations after the death`);
      const [a, b] = turns() as [number, number];
      const serving = identityOf(join(place.kubeletDir, SOCKET));
      await servesAPod(kubelet, DEVICE);
      equal(identityOf(join(place.kubeletDir, SOCKET)), serving, "they do not take turns");
      deepEqual(turns(), [a, b]);
      const registered = [first, second].map((plugin) => said(plugin, /code=registered/).length);
      const server = registered[0]! > a ? first : second;
      const other = server === first ? second : first;
      const before = count(kubelet, "registered");
      server.kill("SIGTERM");
      equal((await server.ended).code, 0);
      await registrations(kubelet, before + 1);
      await servesAPod(kubelet, DEVICE);
      for (const plugin of [first, second]) quiet(plugin, 12);
      await endsCleanly(other, place.kubeletDir);
    },
  },
];
