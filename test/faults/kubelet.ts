/**
 * Faults of whoever is at the other end of the sockets: kubelets that die, stop, or never read.
 *
 * @module
 */
import { deepEqual, equal, match, ok } from "@std/assert";
import { Buffer } from "node:buffer";
import { rmSync, writeFileSync } from "node:fs";
import { createServer, type Server, type Socket } from "node:net";
import { join } from "node:path";
import { count, fakeKubelet, offered, RESOURCE } from "../support/kubelet.ts";
import { memoryOf } from "../support/process_figures.ts";
import { V8_FLAGS } from "../support/subject.ts";
import { pluginCommand, pluginFlags, PluginProcess } from "../../sim/mod.ts";
import { type OnHost, onHost } from "../support/plugin.ts";
import { FLAG, frame, PREFACE, RawConnection, settings, TYPE } from "../support/raw_http2.ts";
import { within } from "../support/temp.ts";
import { eventually } from "../support/eventually.ts";
import type { Fault } from "./fault.ts";
import {
  atRest,
  DEVICE,
  endsCleanly,
  filesAsBefore,
  filesAtRest,
  type GoKubelet,
  goKubelet,
  HOST,
  inFlight,
  killKubelet,
  lastList,
  offeredTo,
  ours,
  quiet,
  registeredWith,
  said,
  saidOnce,
  servesAPod,
  servesThe,
  SOCKET,
  stopped,
} from "./kubelet_rig.ts";

const DEVICES = 10;

/** The calls of the API inside which a kubelet process can die, and how they are made. */
const CALLS: readonly (readonly [string, (go: GoKubelet, place: OnHost) => Promise<unknown>])[] = [
  ["GetDevicePluginOptions", ({ kubelet }) => kubelet.options(RESOURCE)],
  [
    "GetPreferredAllocation",
    ({ kubelet }) => kubelet.preferred(RESOURCE, { available: [DEVICE, "mlx5_3"], mustInclude: [], size: 1 }),
  ],
  ["Allocate", ({ kubelet }) => kubelet.allocate(RESOURCE, [[DEVICE]])],
  ["PreStartContainer", ({ kubelet }) => kubelet.preStart(RESOURCE, [DEVICE])],
];

function diesInside(call: string, make: (go: GoKubelet, place: OnHost) => Promise<void>): Fault {
  return {
    name: `The kubelet dies inside ${call}: the plugin registers with the next one and leaks nothing`,
    injected: "SIGSTOP to the plugin, the call on the wire, SIGKILL to the kubelet process, SIGCONT",
    promise: "An answer that no one takes disturbs nothing. The next kubelet gets a registration and the whole list.",
    needs: ["go"],
    async run() {
      await using place = onHost(HOST);
      const first = await goKubelet(place.kubeletDir);
      await using _first = first.kubelet;
      const plugin = await registeredWith(first, place);
      await offeredTo(first, DEVICES);
      const files = await filesAtRest(plugin.pid);
      const lines = plugin.log.length;
      {
        using _held = await stopped(plugin.pid);
        await make(first, place);
        await killKubelet(first);
      }
      const second = await goKubelet(place.kubeletDir);
      await using kubelet = second.kubelet;
      const { devices } = await kubelet.waitFor((event) => event.event === "list", { what: "the list" }) as {
        devices: readonly unknown[];
      };
      equal(devices.length, DEVICES);
      await servesThe(second).catch(async (error: Error) => {
        // The second of two registrations, see below, takes the connection of the first away.
        match(error.message, /connection is closing/);
        await kubelet.waitFor(() => kubelet.events.filter((event) => event.event === "list").length > 1, {
          what: "the list of the second registration",
        });
        await servesThe(second);
      });
      await filesAsBefore(plugin.pid, files);
      // Two when the new kubelet's socket took the place of the dead one's while the plugin was dialling it.
      const registered = kubelet.events.filter((event) => event.event === "registered").length;
      ok(registered === 1 || registered === 2, `${registered} registrations: ${plugin.log.join("\n")}`);
      equal(said(plugin, / ERROR /).join("\n"), "", plugin.log.join("\n"));
      saidOnce(plugin, /code=registered/, 3);
      quiet(plugin, 7, lines);
      deepEqual(ours(place.kubeletDir), [SOCKET]);
      await endsCleanly(plugin, place.kubeletDir);
    },
  };
}

/** How far a dying kubelet lets a Register call come. */
const IN_REGISTER: readonly (readonly [string, (got: Buffer) => boolean])[] = [
  ["at the first byte", (got) => got.length > 0],
  ["with the preface read", (got) => got.length >= PREFACE.length],
  ["with the whole request read", (got) => got.includes(RESOURCE)],
];

/** A kubelet.sock whose owner greets as HTTP/2 does, and dies when it has read so much; its socket file stays. */
async function dyingKubelet(path: string, enough: (got: Buffer) => boolean): Promise<{ readonly died: Promise<void> }> {
  const { promise: died, resolve } = Promise.withResolvers<void>();
  const sockets = new Set<Socket>();
  const server: Server = createServer((socket) => {
    sockets.add(socket);
    let got = Buffer.alloc(0);
    socket.on("error", () => socket.destroy());
    socket.write(settings());
    socket.on("data", (chunk: Uint8Array) => {
      got = Buffer.concat([got, chunk]);
      if (!enough(got)) return;
      for (const one of sockets) one.destroy();
      server.close(() => resolve());
    });
  });
  await new Promise<void>((listening) => server.listen(path, listening));
  return { died };
}

export const KUBELET: readonly Fault[] = [
  {
    name: "The kubelet dies inside Register, at each stage of it: the plugin waits quietly and registers with the next",
    injected: "A kubelet.sock that reads so much of the call and dies, its socket file left or gone, six times",
    promise: "Retried with a growing pause, at once when another kubelet.sock appears; the same reason is logged once.",
    async run() {
      await using place = onHost(HOST);
      const path = join(place.kubeletDir, "kubelet.sock");
      const plugin = place.start();
      await plugin.logged(/code=no-kubelet-socket/);
      const files = await filesAtRest(plugin.pid);
      for (const after of ["stays", "goes"]) {
        for (const [stage, enough] of IN_REGISTER) {
          rmSync(path, { force: true });
          const { died } = await dyingKubelet(path, enough);
          await within(died, `a Register call that is read ${stage}`);
          if (after === "goes") rmSync(path, { force: true });
        }
      }
      await using kubelet = await fakeKubelet(place.kubeletDir);
      await offered(kubelet, DEVICES);
      await plugin.logged(/code=registered/);
      equal(count(kubelet, "registered"), 1);
      await servesAPod(kubelet, DEVICE);
      equal(said(plugin, / ERROR /).join("\n"), "", plugin.log.join("\n"));
      saidOnce(plugin, /code=kubelet-not-answering/, 6);
      quiet(plugin, 20);
      await kubelet.stop();
      await plugin.logged(/code=no-kubelet-socket/);
      await filesAsBefore(plugin.pid, files);
      await endsCleanly(plugin, place.kubeletDir);
    },
  },
  {
    name: "A kubelet whose first frame is GOAWAY: the plugin goes on running, and registers with the next",
    injected: "A kubelet.sock that answers every connection with SETTINGS and GOAWAY in one write, and hangs up",
    promise:
      "Taken for a kubelet that is not there, said once; nothing spins, calls are answered and SIGTERM is heard.",
    async run() {
      await using place = onHost(HOST);
      const path = join(place.kubeletDir, "kubelet.sock");
      const plugin = place.start();
      await plugin.logged(/code=no-kubelet-socket/);
      const files = await filesAtRest(plugin.pid);
      const visits = new Set<Socket>();
      const server = createServer((connection) => {
        visits.add(connection);
        connection.on("error", () => connection.destroy());
        connection.end(Buffer.concat([settings(), frame(TYPE.goaway, FLAG.none, 0, Buffer.alloc(8))]));
      });
      await new Promise<void>((resolve) => server.listen(path, resolve));
      await plugin.logged(/code=kubelet-not-answering/);
      await eventually(() => visits.size > 1, "a second try");
      {
        using _answered = await RawConnection.speaking(join(place.kubeletDir, SOCKET));
      }
      server.close();
      for (const one of visits) one.destroy();
      await using kubelet = await fakeKubelet(place.kubeletDir);
      await offered(kubelet, DEVICES);
      await servesAPod(kubelet, DEVICE);
      equal(said(plugin, / (WARN|ERROR) /).join("\n"), "", plugin.log.join("\n"));
      saidOnce(plugin, /code=kubelet-not-answering/);
      await kubelet.stop();
      await plugin.logged(/code=no-kubelet-socket/);
      await filesAsBefore(plugin.pid, files);
      await endsCleanly(plugin, place.kubeletDir);
    },
  },
  ...CALLS.map(([call, make]) => diesInside(call, async (go, place) => void await inFlight(go, () => make(go, place)))),
  diesInside("ListAndWatch, with a list on its way", async (go, place) => {
    // A PF: a VF's link is its pod's business, and changes no list.
    await place.host.portDown("mlx5_1", 1);
    await place.host.portUp("mlx5_1", 1);
    ok(lastList(go).includes("mlx5_1:Healthy"));
  }),
  {
    name: "A kubelet that is stopped (SIGSTOP) while it is registered with: the plugin waits, and can still be ended",
    injected: "SIGSTOP to the kubelet process before the plugin starts; SIGCONT, and once more for the end",
    promise: "Registration goes through when the kubelet goes on. SIGTERM does not wait for it.",
    needs: ["go"],
    async run() {
      await using place = onHost(HOST);
      const go = await goKubelet(place.kubeletDir);
      await using kubelet = go.kubelet;
      using held = await stopped(go.pid);
      const plugin = place.start();
      await plugin.logged(/found 10 HCAs/);
      equal(said(plugin, /code=registered/).length, 0);
      await endsCleanly(plugin, place.kubeletDir);
      const next = place.start();
      await next.logged(/found 10 HCAs/);
      held.resume();
      await offeredTo(go, DEVICES);
      await servesThe(go);
      quiet(next, 5);
      using _again = await stopped(go.pid);
      await endsCleanly(next, place.kubeletDir);
      equal(kubelet.events.filter((event) => event.event === "list").length, 1);
    },
  },
  {
    name: "A kubelet that never reads its stream through 500 changes costs no memory, and then gets the latest list",
    injected: "SIGSTOP to the kubelet process with its stream open; a port goes down and up 250 times; SIGCONT",
    promise: "No queue: what fits into the transport is sent, and after it the list of the moment. Anonymous memory " +
      "grows by less than 50 MB, where 500 lists of 6,000 devices would take 80.",
    needs: ["go"],
    async run() {
      await using place = onHost("connectx-ib-dual");
      const config = join(place.dir, "config.yaml");
      const resource = { name: RESOURCE, mode: "shared", share: "one", shares: 6_000, health: { settle: "0s" } };
      writeFileSync(config, JSON.stringify({ resources: [resource] }));
      const go = await goKubelet(place.kubeletDir);
      await using kubelet = go.kubelet;
      let changed = { count: 0, tell: () => {} };
      // The image's flags. With the defaults the heap takes what it finds, and says nothing about what is held.
      const command = pluginCommand(`--v8-flags=${V8_FLAGS}`);
      const flags = [...pluginFlags(place.host, place.kubeletDir), "--config", config];
      await using plugin = new PluginProcess([...command, ...flags], {
        onLine: (line) => {
          if (!/mlx5_0: (Unh|H)ealthy → /.test(line)) return;
          changed.count++;
          changed.tell();
        },
      });
      await offeredTo(go, 6_000);
      const changes = async (n: number) => {
        for (let i = 0; i < n; i++) {
          const { promise, resolve } = Promise.withResolvers<void>();
          changed = { count: changed.count, tell: resolve };
          await (changed.count % 2 === 0 ? place.host.portDown("mlx5_0", 1) : place.host.portUp("mlx5_0", 1));
          await within(promise, `change ${changed.count} in the plugin's log`);
        }
      };
      // As many as the heap takes to reach the size at which it stays.
      await changes(200);
      const lists = () => kubelet.events.filter((event) => event.event === "list").length;
      await eventually(() => lastList(go).includes("mlx5_0::5999:Healthy"), "lists for a kubelet that reads");
      await atRest(lists, "the kubelet to have read what there was");
      const files = await filesAtRest(plugin.pid);
      const before = memoryOf(plugin.pid).anonymous;
      let seen = 0;
      {
        using _held = await stopped(go.pid);
        seen = lists();
        await changes(501);
        const grown = memoryOf(plugin.pid).anonymous - before;
        ok(grown < 50, `anonymous memory grew by ${grown.toFixed(1)} MiB`);
      }
      await atRest(lists, "the kubelet to have read what was on its way");
      await eventually(() => lastList(go).includes("mlx5_0::5999:Unhealthy"), "the latest list");
      // gRPC in Go may open the stream's window to 16 MB, which is a hundred lists; a queue would have 501.
      ok(lists() - seen <= 150, `${lists() - seen} lists came after the pause`);
      // Lists with a healthy port have been among those of before: what counts is that the plugin knows of this change.
      await changes(1);
      await eventually(() => lastList(go).includes("mlx5_0::5999:Healthy"), "the list after it");
      match(JSON.stringify(await kubelet.allocate(RESOURCE, [["mlx5_0::0"]])), /uverbs0/);
      await filesAsBefore(plugin.pid, files);
      saidOnce(plugin, /code=registered/);
      await endsCleanly(plugin, place.kubeletDir);
      equal(changed.count, 702);
    },
  },
];
