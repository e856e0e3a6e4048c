/**
 * Faults of time: a clock that is set while the plugin runs, and a plugin that is stopped while the world goes on.
 *
 * @module
 */
import { deepEqual, equal, ok } from "@std/assert";
import { status } from "@grpc/grpc-js";
import type { PluginProcess } from "../../sim/mod.ts";
import { BareClient } from "../support/bare_client.ts";
import { count, fakeKubelet, RESOURCE } from "../support/kubelet.ts";
import { onHost } from "../support/plugin.ts";
import { get } from "../support/rig.ts";
import { temporaryDir } from "../support/temp.ts";
import { startIn } from "../support/wrapped.ts";
import { settableClock } from "./clock.ts";
import { eventually } from "../support/eventually.ts";
import type { Fault } from "./fault.ts";
import { stopped } from "./kubelet_rig.ts";
import { type Scene, underFault } from "./under_fault.ts";
import { REQUEST } from "./wire.ts";

const HOUR = 3_600;
const YEAR = 365 * 24 * HOUR;
/** Where the clock is put, one after the other, in seconds from where it belongs; and whose port then goes down. */
const JUMPS = [[10 * YEAR, "mlx5_0"], [-10 * YEAR, "mlx5_1"], [HOUR, "mlx5_0"]] as const;

/** What the plugin tells about itself over HTTP. */
async function metrics(plugin: PluginProcess): Promise<(name: string) => number> {
  const [, port] = /http:\S+:(\d+)/.exec(await plugin.logged(/metrics, probes and a status page on/)) ?? [];
  const { body: text } = await get(Number(port), "/metrics");
  for (const path of ["/livez", "/readyz"]) equal((await get(Number(port), path)).body, "ok\n", path);
  return (name) =>
    [...text.matchAll(new RegExp(`^${name}(?:\\{.*\\})? (\\S+)$`, "gm"))].reduce((sum, [, n]) => sum + Number(n), 0);
}

/** What becomes of an Allocate whose caller gives up after so many milliseconds, as a peer with a deadline does. */
async function impatient(socket: string, ms: number): Promise<string> {
  using client = new BareClient(socket);
  const reply = await client.call("Allocate", REQUEST, ms);
  return reply.ok ? "answered" : status[reply.code]!;
}

/** How a scene's metrics stand before and after something. */
async function quietDuring({ plugin, kubelet }: Scene, what: () => Promise<void>): Promise<void> {
  const [before, known] = [await metrics(plugin), count(kubelet, "registered")];
  await what();
  const after = await metrics(plugin);
  const looks = after("rdma_device_plugin_scans_total") - before("rdma_device_plugin_scans_total");
  equal(count(kubelet, "registered"), known, "the kubelet was told nothing new");
  // Each change is followed by a scan, one when it has settled, and one a second later that reads everything.
  ok(looks <= 24, `${looks} looks`);
}

export const TIME: readonly Fault[] = [
  {
    name: "A clock that is set by hours or years is a matter of the log's time stamps only",
    injected:
      "the plugin's time of day put 10 years ahead, 10 years back and 1 hour ahead; each time a port goes down and " +
      "comes up, one of them twice",
    promise: "health changes, damping and scans keep their pace, no registration, no storm of scans; /livez and " +
      "/readyz stay 200; no age or duration in the metrics jumps; calls with a deadline are answered",
    needs: ["gcc"],
    async run() {
      using dir = temporaryDir();
      const clock = settableClock(dir.path);
      const setting = {
        preset: "connectx-roce-vfs",
        flags: ["--http", "127.0.0.1:0"],
        start: (place: Parameters<typeof startIn>[1], flags: readonly string[]) => startIn(clock.wrapper, place, flags),
        lines: 2 * JUMPS.length,
      };
      await underFault(setting, (scene) =>
        quietDuring(scene, async () => {
          const { place, plugin, socket, said } = scene;
          const years: string[] = [];
          for (const [jump, hca] of JUMPS) {
            clock.set(jump);
            const from = said().length;
            await place.host.portDown(hca, 1);
            await scene.devices(9);
            await place.host.portUp(hca, 1);
            await scene.devices(10);
            equal(await impatient(socket, 10_000), "answered");
            const lines = await eventually(() => said().length === from + 2 && said().slice(from), "two lines");
            years.push(...lines.map((line) => line.slice(0, 4)));
            const now = await metrics(plugin);
            const here = Date.now() / 1e3 + jump;
            const age = here - now("rdma_device_plugin_last_scan_timestamp_seconds");
            ok(age > -2 && age < 30, `the last scan was ${age} s ago`);
            ok(now("rdma_device_plugin_scan_duration_seconds_sum") < 30);
            ok(now("rdma_device_plugin_event_latency_seconds_sum") < 30);
          }
          // The clock was set for certain.
          const year = (jump: number) => new Date(Date.now() + jump * 1e3).getUTCFullYear().toString();
          deepEqual(years, JUMPS.flatMap(([jump]) => [year(jump), year(jump)]));
        }));
    },
  },
  {
    name: "A clock that is set in the middle of a registration costs one try at most",
    injected: "a kubelet that does not answer Register yet; the clock put 10 years ahead; then the kubelet answers",
    promise: "registered, at once or by the next try; the deadline of the call is not fooled for longer",
    needs: ["gcc"],
    async run() {
      using dir = temporaryDir();
      const clock = settableClock(dir.path);
      await using place = onHost("connectx-ib-dual");
      await using kubelet = await fakeKubelet(place.kubeletDir);
      await using plugin = startIn(clock.wrapper, place, []);
      // Between the start of the process and the kubelet's answer, which it gives only after it has dialled back.
      await eventually(() => kubelet.history.some((event) => event.kind === "register"), "the call");
      clock.set(10 * YEAR);
      await kubelet.waitFor((state) => state.resources[RESOURCE]?.allocatable === 1, { timeoutMs: 20_000 });
      await kubelet.restart();
      clock.set(-10 * YEAR);
      await kubelet.waitFor((state) => state.resources[RESOURCE]?.allocatable === 1, { timeoutMs: 20_000 });
      await plugin.logged(/code=registered/);
      ok(count(kubelet, "registered") <= 4, `${count(kubelet, "registered")} registrations`);
      equal((await plugin.stop()).code, 0);
    },
  },
  {
    name: "A plugin that is stopped while its peers give up and the kubelet restarts tells the truth when it goes on",
    injected:
      "SIGSTOP; an Allocate runs into its deadline, four VFs go, the kubelet restarts and wipes its directory; " +
      "SIGCONT. As long as these take and not a fixed time: nothing of it hangs on how long",
    promise: "registered with the new kubelet, with the devices that there are now; the call that was given up is " +
      "forgotten; one socket, no line too many",
    run: () =>
      underFault({ preset: "connectx-roce-vfs", lines: 12 }, async (scene) => {
        const { place, plugin, kubelet, socket, said } = scene;
        const known = count(kubelet, "registered");
        using held = await stopped(plugin.pid);
        equal(await impatient(socket, 300), "DEADLINE_EXCEEDED");
        await place.host.removeVfs("mlx5_0");
        await kubelet.restart();
        equal(
          kubelet.state().resources[RESOURCE]?.endpoint ?? null,
          null,
          "nobody has registered with the new kubelet",
        );
        held.resume();
        await scene.devices(6);
        equal(count(kubelet, "registered"), known + 1);
        await eventually(() => said().some((line) => /code=registered/.test(line)), "the line about it");
        await place.host.addVfs("mlx5_0", 4);
      }),
  },
  {
    name: "A plugin that is stopped and goes on with the same kubelet has lost no change",
    injected: "SIGSTOP; a port goes down and up forty times, and four VFs go; SIGCONT",
    promise: "the kubelet's list is right again, by the stream that was open all the time, with one scan and not forty",
    run: () =>
      underFault(
        { preset: "connectx-roce-vfs", flags: ["--http", "127.0.0.1:0"], lines: 12 },
        (scene) =>
          quietDuring(scene, async () => {
            const { place, plugin } = scene;
            using held = await stopped(plugin.pid);
            for (let i = 0; i < 40; i++) {
              await place.host.portDown("mlx5_1", 1);
              await place.host.portUp("mlx5_1", 1);
            }
            await place.host.removeVfs("mlx5_0");
            held.resume();
            await scene.devices(6);
            await place.host.addVfs("mlx5_0", 4);
            await scene.devices(10);
          }),
      ),
  },
];
