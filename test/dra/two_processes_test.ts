import { deepEqual, equal, match, ok } from "@std/assert";
import { readdirSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { setTimeout as delay } from "node:timers/promises";
import { release } from "../../sim/api_server/scheduler.ts";
import { manyHcas } from "../../sim/host/presets.ts";
import { type PluginProcess, startPlugin } from "../../sim/mod.ts";
import { DraRig } from "../support/dra_rig.ts";

const HCAS = 8;
/** What passes by itself. */
const PASSING = /UNAVAILABLE|CANCELLED|not registered|is held by|cancelled|did not answer|No connection|drop/;

/** Plugins as processes of their own, on one node. */
class Processes implements AsyncDisposable {
  readonly rig: DraRig;
  readonly #started: PluginProcess[] = [];

  private constructor(rig: DraRig) {
    this.rig = rig;
  }

  static async start(): Promise<Processes> {
    return new Processes(await DraRig.start({ host: manyHcas(HCAS), agent: false, wipeMs: 5_000 }));
  }

  /** @param share how many claims may have an HCA: another one is another configuration */
  async run(uid: string, share: number): Promise<PluginProcess> {
    const config = join(this.rig.dir, `${uid}.json`);
    const mode = share === 1 ? {} : { mode: "shared", share: "one", shares: share };
    writeFileSync(config, JSON.stringify({ resources: [{ name: "tencent.com/rdma", api: "dra", ...mode }] }));
    const before = this.rig.dra.registrations;
    const one = startPlugin([...this.rig.flags(uid), `--config=${config}`]);
    this.#started.push(one);
    await this.rig.dra.waitFor(
      () => this.rig.dra.registrations > before,
      `the registration of ${uid}`,
      30_000,
    ).catch((error: unknown) => Promise.reject(new Error(`${error}\n${one.log.join("\n")}`)));
    return one;
  }

  /** What the slices say of how often a device may be had, by the number of devices that say so. */
  get shares(): readonly string[] {
    return [...new Set(this.rig.devices.map((one) => one.capacity?.shares?.value ?? "1"))];
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await Promise.all(this.#started.map((one) => one.stop()));
    await this.rig[Symbol.asyncDispose]();
  }
}

Deno.test("DRA: two processes with different configurations: the newer one writes the slices, and the older one when it is killed", async () => {
  await using all = await Processes.start();
  const { rig } = all;
  const first = await all.run("uid-1", 1);
  await rig.api.waitFor(() => rig.devices.length === HCAS, "the slices of the first", 30_000);
  const second = await all.run("uid-2", 2);
  await rig.api.waitFor(() => all.shares.join() === "2", "the slices of the second", 30_000);
  const writes = rig.api.writes().length;
  await first.logged(/a newer process of the driver serves on .*dra-uid-2\.sock/);
  // Both have something to write: the older one nothing but this.
  await rig.host.portDown("mlx5_3", 1);
  await rig.api.waitFor(() => rig.devices.some((one) => (one.taints ?? []).length > 0), "the taint");
  equal(rig.api.writes().length, writes + 1, JSON.stringify(rig.api.writes().slice(writes)));
  second.kill("SIGKILL");
  await second.ended;
  await rig.api.waitFor(() => all.shares.join() === "1", "the slices of the first again", 30_000);
});

Deno.test("DRA: a rolling update while pods come and go: no HCA twice, each claim ends, nothing is left", async () => {
  await using all = await Processes.start();
  const { rig } = all;
  const held = new Map<string, string>();
  const failures: string[] = [];
  let number = 0, stop = false, pods = 0;
  /** As a kubelet does: for as long as it fails for want of a driver, or because an HCA is just being given back. */
  const untilDone = async (what: string, work: () => Promise<void>) => {
    for (let tries = 0;; tries++) {
      try {
        return await work();
      } catch (error) {
        if (stop && tries > 500 || !PASSING.test(String(error))) throw new Error(`${what}: ${error}`);
        await delay(20);
      }
    }
  };
  const live = async (lane: number) => {
    while (!stop) {
      const name = `lane-${lane}-${number++}`;
      const claim = rig.claim(name);
      if (claim === null) throw new Error("there are fewer lanes than HCAs");
      let device = "";
      await untilDone(name, async () => {
        device = (await rig.run(claim)).devices[0]!.device_name!;
      });
      const other = held.get(device);
      if (other !== undefined) failures.push(`${device} is had by ${other} and by ${name}`);
      held.set(device, name);
      pods++;
      await rig.dra.removePod(`pod-${name}`).catch(() => {});
      await untilDone(name, () => rig.dra.owed === 0 ? Promise.resolve() : rig.dra.reconcile());
      held.delete(device);
      release(rig.api, name);
    }
  };
  let plugin = await all.run("uid-1", 1);
  await rig.api.waitFor(() => rig.devices.length === HCAS, "the slices", 30_000);
  const lanes = Promise.all(Array.from({ length: HCAS / 2 }, (_, lane) => live(lane)));
  lanes.catch(() => {});
  try {
    for (let n = 2; n <= 5; n++) {
      const next = await all.run(`uid-${n}`, 1);
      const seen = pods;
      await rig.dra.waitFor(() => pods > seen + 10, "pods while both serve", 30_000);
      // Every second one is killed: nothing of it is removed.
      if (n % 2 === 0) equal((await plugin.stop()).code, 0, plugin.log.join("\n"));
      else {
        plugin.kill("SIGKILL");
        await plugin.ended;
      }
      const later = pods;
      await rig.dra.waitFor(() => pods > later + 10, "pods after the update", 30_000);
      plugin = next;
    }
  } finally {
    stop = true;
  }
  await lanes;
  deepEqual(failures, []);
  ok(pods > 80, `${pods} pods`);
  deepEqual(readdirSync(join(rig.dir, "cdi")), []);
  deepEqual(readdirSync(join(rig.dir, "plugins/rdma.tencent.com/claims")), []);
  match(plugin.log.join("\n"), /is unprepared/);
});
