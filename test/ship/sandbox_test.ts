import { deepEqual, equal, match, ok } from "@std/assert";
import { readdirSync, watch } from "node:fs";
import { join } from "node:path";
import { socketName, temporaryPath } from "../../src/kubelet/socket_file.ts";
import { deadSocket } from "../support/dead_socket.ts";
import { fakeKubelet, offered, RESOURCE } from "../support/kubelet.ts";
import { needs } from "../support/need.ts";
import { within } from "../support/temp.ts";
import { box, complaints } from "../support/box.ts";
import { intrude } from "../support/intruder.ts";

const SETS = ["image", "no-ffi"] as const;
/** As rdma-device-plugin.yml has it. */
const ROOTS = ["--sysfs-root=/host/sys", "--dev-root=/host/dev"];
const ARGS = [...ROOTS, "--rescan=1", "--http=:9178"];
for (const set of SETS) {
  Deno.test({
    name:
      `the plugin registers, answers and ends cleanly with the permission set ${set}, no capability, a read-only root`,
    ...needs("root", "unshare"),
    async fn() {
      await using room = await box("connectx-roce-vfs");
      await using kubelet = await fakeKubelet(room.kubeletDir);
      // What a plugin leaves that is killed while it registers.
      await deadSocket(temporaryPath(join(room.kubeletDir, socketName(RESOURCE))));
      const plugin = room.plugin(set, ARGS);
      await offered(kubelet, 10)
        .catch((error: unknown) => Promise.reject(new Error(`${error}\n${plugin.log.join("\n")}`)));
      const [answer] = await kubelet.allocate(RESOURCE, [["mlx5_0"]]);
      equal(answer?.devices?.[0]?.host_path, "/dev/infiniband/uverbs0");
      await room.host.carrierLost("mlx5_1", 1);
      await offered(kubelet, 9);
      equal((await plugin.stop()).code, 0, plugin.log.join("\n"));
      ok(!readdirSync(room.kubeletDir).some((name) => /^\.?rdma/.test(name)), readdirSync(room.kubeletDir).join());
      match(plugin.log.join("\n"), /metrics, probes and a status page on/);
      deepEqual(complaints(plugin), []);
    },
  });
}

Deno.test({
  name: "a configuration file and CDI work within the permission set",
  ...needs("root", "unshare"),
  async fn() {
    await using room = await box("connectx-ib-dual");
    room.put("/etc/rdma-device-plugin/config.yaml", "resources:\n  - name: rdma/any\n");
    await using kubelet = await fakeKubelet(room.kubeletDir, { cdiDirs: [room.cdiDir] });
    const plugin = room.plugin("image", [...ARGS, "--config=/etc/rdma-device-plugin/config.yaml", "--cdi"]);
    await offered(kubelet, 1, "rdma/any")
      .catch((error: unknown) => Promise.reject(new Error(`${error}\n${plugin.log.join("\n")}`)));
    const [answer] = await kubelet.allocate("rdma/any", [["mlx5_0"]]);
    equal(answer?.cdi_devices?.length, 1);
    ok(readdirSync(room.cdiDir).some((name) => name.endsWith(".json")), readdirSync(room.cdiDir).join());
    deepEqual(complaints(plugin), []);
  },
});

Deno.test({
  name: "the plugin watcher's directory can be served in within the permission set",
  ...needs("root", "unshare"),
  async fn() {
    await using room = await box("connectx-ib-dual");
    room.put("/var/lib/kubelet/plugins_registry/.keep", "");
    const changes = watch(room.registryDir);
    const appeared = new Promise<void>((done) =>
      changes.on("change", () => {
        if (readdirSync(room.registryDir).includes("rdma-tencent.com_rdma.sock")) done();
      })
    );
    const plugin = room.plugin("image", [...ARGS, "--registration=watcher"]);
    try {
      await within(appeared, "the socket in plugins_registry");
    } finally {
      changes.close();
    }
    deepEqual(complaints(plugin), []);
  },
});

Deno.test({
  name: "list and doctor work within the permission set, and doctor says what the sandbox hides",
  ...needs("root", "unshare"),
  async fn() {
    await using room = await box("connectx-ib-dual");
    await using _kubelet = await fakeKubelet(room.kubeletDir);
    for (
      const [command, expected] of [["list", /rdma: 1 device, 1 healthy/], [
        "doctor",
        /Deno's permissions do not allow it/,
      ]] as const
    ) {
      const plugin = room.plugin("image", [command, ...ROOTS]);
      equal((await within(plugin.ended, `the end of ${command}`)).code, 0, plugin.log.join("\n"));
      match(plugin.log.join("\n"), expected);
      deepEqual(complaints(plugin), []);
    }
  },
});

for (const set of SETS) {
  Deno.test({
    name: `within the permission set ${set} nothing else can be read, written, started or reached`,
    ...needs("root", "unshare"),
    async fn() {
      const lines = await intrude([`-P=${set}`]);
      // FFI is all or nothing, and who may call libc needs no other permission: docs/security.md says so.
      const allowed = ["read the host's HCAs", "see the host's nodes", ...set === "image" ? ["load a library"] : []];
      deepEqual(lines.filter((line) => !line.endsWith(": refused")), allowed.map((what) => `${what}: allowed`));
      ok(lines.includes("load a library: " + (set === "image" ? "allowed" : "refused")), lines.join());
    },
  });
}
