import { deepEqual, equal, match } from "@std/assert";
import { type ChildProcess, spawn, spawnSync } from "node:child_process";
import { readdirSync } from "node:fs";
import { join } from "node:path";
import process from "node:process";
import { FakeKubelet } from "../../sim/mod.ts";
import { bundle } from "../support/bundle.ts";
import { needs } from "../support/need.ts";
import { onHost } from "../support/plugin.ts";
import { temporaryDir, within } from "../support/temp.ts";

const RESOURCE = "tencent.com/rdma";

/** The bundle on Node.js, as the ppc64le image runs it. */
function onNode(file: string, args: readonly string[]) {
  const child: ChildProcess = spawn("node", [file, ...args], { stdio: ["ignore", "pipe", "pipe"] });
  const chunks: string[] = [];
  for (const stream of [child.stdout, child.stderr]) {
    stream?.on("data", (chunk: Uint8Array) => chunks.push(new TextDecoder().decode(chunk)));
  }
  const ended = new Promise<number | null>((done) => child.once("close", (code) => done(code)));
  return { pid: child.pid!, ended, output: () => chunks.join("") };
}

Deno.test({
  name: "the bundle runs on Node.js: sysfs and looking instead of libibverbs and netlink, all else the same",
  ...needs("node"),
  async fn() {
    using dir = temporaryDir();
    const file = await bundle(dir.path);
    await using place = onHost("connectx-roce-vfs");
    const kubelet = new FakeKubelet({ dir: place.kubeletDir });
    await using _ = { [Symbol.asyncDispose]: () => kubelet.close() };
    await kubelet.start();
    const roots = [`--sysfs-root=${place.host.sysfsRoot}`, `--dev-root=${place.host.devRoot}`];
    const { pid, ended, output } = onNode(file, [...roots, `--kubelet-dir=${place.kubeletDir}`, "--rescan=1"]);
    const allocatable = (n: number) =>
      kubelet.waitFor((state) => state.resources[RESOURCE]?.allocatable === n, {
        what: `${n} HCAs`,
      });
    try {
      await allocatable(10);
      const [answer] = await kubelet.allocate(RESOURCE, [["mlx5_0"]]);
      equal(answer?.devices?.[0]?.host_path, "/dev/infiniband/uverbs0");
      await place.host.carrierLost("mlx5_1", 1);
      await allocatable(9);
      await place.host.portUp("mlx5_1", 1);
      await allocatable(10);
    } catch (error) {
      throw new Error(`${error}\n${output()}`);
    } finally {
      process.kill(pid, "SIGTERM");
      equal(await within(ended, "the plugin's end"), 0, output());
    }
    match(output(), /no events from netlink/);
    deepEqual(readdirSync(place.kubeletDir).filter((name) => name.startsWith("rdma-")), []);
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
