import { deepEqual, equal, match, ok } from "@std/assert";
import { spawnSync } from "node:child_process";
import { readdirSync } from "node:fs";
import { join } from "node:path";
import process from "node:process";
import { fakeKubelet, offered, RESOURCE } from "../support/kubelet.ts";
import { PluginProcess } from "../../sim/mod.ts";
import { bundle } from "../support/bundle.ts";
import { DraRig } from "../support/dra_rig.ts";
import { needs } from "../support/need.ts";
import { onHost } from "../support/plugin.ts";
import { temporaryDir } from "../support/temp.ts";

Deno.test({
  name: "the bundle runs on Node.js: sysfs and looking instead of libibverbs and netlink, all else the same",
  ...needs("node"),
  async fn() {
    using dir = temporaryDir();
    const file = await bundle(dir.path);
    await using place = onHost("connectx-roce-vfs");
    await using kubelet = await fakeKubelet(place.kubeletDir);
    const roots = [`--sysfs-root=${place.host.sysfsRoot}`, `--dev-root=${place.host.devRoot}`];
    const plugin = new PluginProcess(["node", file, ...roots, `--kubelet-dir=${place.kubeletDir}`, "--rescan=1"]);
    try {
      await offered(kubelet, 10);
      const [answer] = await kubelet.allocate(RESOURCE, [["mlx5_0"]]);
      equal(answer?.devices?.[0]?.host_path, "/dev/infiniband/uverbs0");
      await place.host.carrierLost("mlx5_1", 1);
      await offered(kubelet, 9);
      await place.host.portUp("mlx5_1", 1);
      await offered(kubelet, 10);
    } catch (error) {
      throw new Error(`${error}\n${plugin.log.join("\n")}`);
    } finally {
      equal((await plugin.stop()).code, 0, plugin.log.join("\n"));
    }
    match(plugin.log.join("\n"), /no events from netlink/);
    deepEqual(readdirSync(place.kubeletDir).filter((name) => name.startsWith("rdma-")), []);
  },
});

Deno.test({
  name: "DRA on Node.js: HCAs are published, a claim is prepared, a pod gets its nodes, and it ends",
  ...needs("node"),
  async fn() {
    using dir = temporaryDir();
    const file = await bundle(dir.path);
    await using rig = await DraRig.start({ host: "broadcom-bnxt", agent: false });
    const plugin = new PluginProcess([
      "node",
      file,
      "--api=dra",
      "--rescan=1",
      ...rig.flags("11111111-2222-3333-4444-555555555555"),
    ]);
    try {
      await rig.ready(2);
      const claim = rig.claim("one", { where: { rdmaDevice: "bnxt_re1" } });
      ok(claim !== null);
      const { view } = await rig.run(claim);
      deepEqual(view.devices.map((node) => node.containerPath).sort(), [
        "/dev/infiniband/rdma_cm",
        "/dev/infiniband/uverbs1",
      ]);
      await rig.remove("one");
      deepEqual(readdirSync(join(rig.dir, "cdi")), []);
    } catch (error) {
      throw new Error(`${error}\n${plugin.log.join("\n")}`);
    } finally {
      equal((await plugin.stop()).code, 0, plugin.log.join("\n"));
    }
  },
});

Deno.test({
  name: "every command of the bundle that only looks works on Node.js and on Deno without a configuration or a network",
  ...needs("node"),
  async fn() {
    using dir = temporaryDir();
    const file = await bundle(dir.path);
    await using place = onHost("connectx-ib-dual");
    const roots = [`--sysfs-root=${place.host.sysfsRoot}`, `--dev-root=${place.host.devRoot}`];
    const run = (command: string, ...args: string[]) => {
      const { stdout, stderr } = spawnSync(command, args, { encoding: "utf8", cwd: dir.path });
      return `${stdout}${stderr}`;
    };
    const deno = ["run", "-A", "--no-config", "--no-lock", "--no-npm", "--no-remote"];
    for (
      const say of [
        (...a: string[]) => run("node", file, ...a),
        (...a: string[]) => run(process.execPath, ...deno, file, ...a),
      ]
    ) {
      match(say("version"), /^rdma-device-plugin \d/);
      match(say("list", ...roots), /mlx5_0/);
      match(say("doctor", ...roots), /kubelet-dir|device-plugins/);
      match(say("validate", join(place.dir, "none.yaml")), /none\.yaml/);
      match(say("--no-such-flag"), /\[unknown-flag\]/);
    }
  },
});
