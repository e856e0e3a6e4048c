import { deepEqual, doesNotMatch, equal, match } from "@std/assert";
import { spawn } from "node:child_process";
import { join } from "node:path";
import { execPath } from "node:process";
import { FakeKubelet } from "../../sim/mod.ts";
import { pod, servePods } from "../support/rig.ts";
import { needs } from "../support/need.ts";
import { within } from "../support/temp.ts";
import { type Box, box, complaints } from "../support/box.ts";

const RESOURCE = "tencent.com/rdma";
const ROOTS = ["--sysfs-root=/host/sys", "--dev-root=/host/dev"];

/** A kubelet's PodResources API, where the manifests mount it; it says that one pod holds mlx5_0. */
const serve = (room: Box) =>
  servePods(join(room.podResourcesDir, "kubelet.sock"), () => ({
    pod_resources: [pod("hpc", "mpi-0", ["mlx5_0"])],
  }));

/** GET, from within the network namespace of a process in the box; there, nobody has set the loopback interface up yet. */
async function get(pid: number, path: string): Promise<string> {
  const script =
    `ip link set lo up; exec "$GET_DENO" eval --no-config 'console.log(await (await fetch(Deno.args[0])).text())' "$0"`;
  const child = spawn(
    "nsenter",
    [`--target=${pid}`, "--net", "sh", "-euc", script, `http://127.0.0.1:9178${path}`],
    {
      stdio: ["ignore", "pipe", "pipe"],
      env: { PATH: "/usr/sbin:/usr/bin:/sbin:/bin", NO_COLOR: "1", GET_DENO: execPath },
    },
  );
  const chunks: string[] = [];
  for (const stream of [child.stdout, child.stderr]) {
    stream.on("data", (chunk: Uint8Array) => chunks.push(new TextDecoder().decode(chunk)));
  }
  const status = await within(new Promise((done) => child.once("close", done)), `the answer to ${path}`);
  equal(status, 0, chunks.join(""));
  return chunks.join("");
}

for (const set of ["image", "no-ffi"]) {
  Deno.test({
    name: `--pod-resources reaches the kubelet with the permission set ${set}, through a read-only mount`,
    ...needs("root", "unshare", "netns"),
    async fn() {
      await using room = await box("connectx-roce-vfs");
      await using _pods = await serve(room);
      const kubelet = new FakeKubelet({ dir: room.kubeletDir });
      await using _ = { [Symbol.asyncDispose]: () => kubelet.close() };
      await kubelet.start();
      const flags = [...ROOTS, "--rescan=1", "--http=:9178", "--pod-resources"];
      const { child, output } = room.deno("run", "--quiet", `-P=${set}`, "/app/rdma-device-plugin.mjs", ...flags);
      await kubelet.waitFor((state) => state.resources[RESOURCE]?.allocatable === 10, { what: "ten HCAs" })
        .catch((error: unknown) => Promise.reject(new Error(`${error}\n${output()}`)));
      const metrics = await get(child.pid!, "/metrics");
      deepEqual(metrics.split("\n").filter((line) => line.startsWith("rdma_device_plugin_device_pod_info")), [
        `rdma_device_plugin_device_pod_info{resource="${RESOURCE}",device="mlx5_0",namespace="hpc",pod="mpi-0",container="main"} 1`,
      ]);
      match(metrics, /^rdma_device_plugin_pod_resources_errors_total 0$/m);
      deepEqual(complaints(output()), []);
    },
  });
}

Deno.test({
  name: "list --pod-resources names the holders within the permission set, and says why when the kubelet is away",
  ...needs("root", "unshare"),
  async fn() {
    await using room = await box("connectx-roce-vfs");
    const list = async () => {
      const command = ["/app/rdma-device-plugin.mjs", "list", "--pod-resources", ...ROOTS];
      const { ended, output } = room.deno("run", "--quiet", "-P=image", ...command);
      equal(await within(ended, "the end of list"), 0, output());
      deepEqual(complaints(output()), []);
      return output().replace(/\s+/g, " ");
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
