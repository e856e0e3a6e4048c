import { deepEqual, doesNotMatch, equal, match } from "@std/assert";
import { join } from "node:path";
import { execPath } from "node:process";
import { PluginProcess } from "../../sim/mod.ts";
import { fakeKubelet, offered, RESOURCE } from "../support/kubelet.ts";
import { pod, servePods } from "../support/rig.ts";
import { needs } from "../support/need.ts";
import { within } from "../support/temp.ts";
import { type Box, box, complaints } from "../support/box.ts";

const ROOTS = ["--sysfs-root=/host/sys", "--dev-root=/host/dev"];

/** A kubelet's PodResources API, where the manifests mount it; it says that one pod holds mlx5_0. */
const serve = (room: Box) =>
  servePods(join(room.podResourcesDir, "kubelet.sock"), () => [pod("hpc", "mpi-0", ["mlx5_0"])]);

/** GET, from within the network namespace of a process in the box; there, nobody has set the loopback interface up yet. */
async function get(pid: number, path: string): Promise<string> {
  const script =
    `ip link set lo up; exec "$GET_DENO" eval --no-config 'console.log(await (await fetch(Deno.args[0])).text())' "$0"`;
  const env = { PATH: "/usr/sbin:/usr/bin:/sbin:/bin", NO_COLOR: "1", GET_DENO: execPath };
  const url = `http://127.0.0.1:9178${path}`;
  const client = new PluginProcess(["nsenter", `--target=${pid}`, "--net", "sh", "-euc", script, url], { env });
  equal((await within(client.ended, `the answer to ${path}`)).code, 0, client.log.join("\n"));
  return client.log.join("\n");
}

for (const set of ["image", "no-ffi"] as const) {
  Deno.test({
    name: `--pod-resources reaches the kubelet with the permission set ${set}, through a read-only mount`,
    ...needs("root", "unshare", "netns"),
    async fn() {
      await using room = await box("connectx-roce-vfs");
      await using _pods = await serve(room);
      await using kubelet = await fakeKubelet(room.kubeletDir);
      const flags = [...ROOTS, "--rescan=1", "--http=:9178", "--pod-resources"];
      const plugin = room.plugin(set, flags);
      await offered(kubelet, 10)
        .catch((error: unknown) => Promise.reject(new Error(`${error}\n${plugin.log.join("\n")}`)));
      const metrics = await get(plugin.pid, "/metrics");
      deepEqual(metrics.split("\n").filter((line) => line.startsWith("rdma_device_plugin_device_pod_info")), [
        `rdma_device_plugin_device_pod_info{resource="${RESOURCE}",device="mlx5_0",namespace="hpc",pod="mpi-0",container="main"} 1`,
      ]);
      match(metrics, /^rdma_device_plugin_pod_resources_errors_total 0$/m);
      deepEqual(complaints(plugin), []);
    },
  });
}

Deno.test({
  name: "list --pod-resources names the holders within the permission set, and says why when the kubelet is away",
  ...needs("root", "unshare"),
  async fn() {
    await using room = await box("connectx-roce-vfs");
    const list = async () => {
      const command = room.plugin("image", ["list", "--pod-resources", ...ROOTS]);
      equal((await within(command.ended, "the end of list")).code, 0, command.log.join("\n"));
      deepEqual(complaints(command), []);
      return command.log.join(" ").replace(/\s+/g, " ");
    };
    const alone = await list();
    match(
      alone,
      /the pods that hold the devices are not known: \/var\/lib\/kubelet\/pod-resources\/kubelet.sock does not exist/,
    );
    doesNotMatch(alone, /mpi-0/);
    await using _pods = await serve(room);
    const held = await list();
    match(held, /hpc\/mpi-0/);
    doesNotMatch(held, /is not known/);
  },
});
