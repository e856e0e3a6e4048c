import { deepEqual, equal, match, ok } from "@std/assert";
import { readdirSync, renameSync, watch } from "node:fs";
import { createServer } from "node:net";
import { join } from "node:path";
import process from "node:process";
import { FakeKubelet } from "../../sim/mod.ts";
import { socketName, temporaryPath } from "../../src/kubelet/socket_file.ts";
import { needs } from "../support/need.ts";
import { within } from "../support/temp.ts";
import { type Box, box, complaints } from "../support/box.ts";
import { intrude } from "../support/intruder.ts";

const RESOURCE = "tencent.com/rdma";
const SETS = ["image", "no-ffi"] as const;
/** As rdma-device-plugin.yml has it. */
const ROOTS = ["--sysfs-root=/host/sys", "--dev-root=/host/dev"];
const ARGS = [...ROOTS, "--rescan=1", "--http=:9178"];
const plugin = (room: Box, set: string, ...more: string[]) =>
  room.deno("run", "--quiet", `-P=${set}`, "/app/rdma-device-plugin.mjs", ...ARGS, ...more);

/** What a plugin leaves that is killed while it registers. */
async function leftover(path: string): Promise<void> {
  const server = createServer();
  await new Promise<void>((resolve) => server.listen(`${path}~`, resolve));
  renameSync(`${path}~`, temporaryPath(path));
  await new Promise<void>((resolve) => void server.close(() => resolve()));
}

for (const set of SETS) {
  Deno.test({
    name:
      `the plugin registers, answers and ends cleanly with the permission set ${set}, no capability, a read-only root`,
    ...needs("root", "unshare"),
    async fn() {
      await using room = await box("connectx-roce-vfs");
      const kubelet = new FakeKubelet({ dir: room.kubeletDir });
      await using _ = { [Symbol.asyncDispose]: () => kubelet.close() };
      await kubelet.start();
      await leftover(join(room.kubeletDir, socketName(RESOURCE)));
      const { child, ended, output } = plugin(room, set);
      await kubelet.waitFor((state) => state.resources[RESOURCE]?.allocatable === 10, { what: "ten HCAs" })
        .catch((error: unknown) => Promise.reject(new Error(`${error}\n${output()}`)));
      const [answer] = await kubelet.allocate(RESOURCE, [["mlx5_0"]]);
      equal(answer?.devices?.[0]?.host_path, "/dev/infiniband/uverbs0");
      await room.host.carrierLost("mlx5_1", 1);
      await kubelet.waitFor((state) => state.resources[RESOURCE]?.allocatable === 9, { what: "a port down" });
      process.kill(child.pid!, "SIGTERM");
      equal(await within(ended, "the plugin's end"), 0, output());
      ok(!readdirSync(room.kubeletDir).some((name) => /^\.?rdma/.test(name)), readdirSync(room.kubeletDir).join());
      match(output(), /metrics, probes and a status page on/);
      deepEqual(complaints(output()), []);
    },
  });
}

Deno.test({
  name: "a configuration file and CDI work within the permission set",
  ...needs("root", "unshare"),
  async fn() {
    await using room = await box("connectx-ib-dual");
    room.put("/etc/rdma-device-plugin/config.yaml", "resources:\n  - name: rdma/any\n");
    const kubelet = new FakeKubelet({ dir: room.kubeletDir, cdiDirs: [room.cdiDir] });
    await using _ = { [Symbol.asyncDispose]: () => kubelet.close() };
    await kubelet.start();
    const { output } = plugin(room, "image", "--config=/etc/rdma-device-plugin/config.yaml", "--cdi");
    await kubelet.waitFor((state) => state.resources["rdma/any"]?.allocatable === 1, { what: "the HCA" })
      .catch((error: unknown) => Promise.reject(new Error(`${error}\n${output()}`)));
    const [answer] = await kubelet.allocate("rdma/any", [["mlx5_0"]]);
    equal(answer?.cdi_devices?.length, 1);
    ok(readdirSync(room.cdiDir).some((name) => name.endsWith(".json")), readdirSync(room.cdiDir).join());
    deepEqual(complaints(output()), []);
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
    const { output } = plugin(room, "image", "--registration=watcher");
    try {
      await within(appeared, "the socket in plugins_registry");
    } finally {
      changes.close();
    }
    deepEqual(complaints(output()), []);
  },
});

Deno.test({
  name: "list and doctor work within the permission set, and doctor says what the sandbox hides",
  ...needs("root", "unshare"),
  async fn() {
    await using room = await box("connectx-ib-dual");
    const kubelet = new FakeKubelet({ dir: room.kubeletDir });
    await using _ = { [Symbol.asyncDispose]: () => kubelet.close() };
    await kubelet.start();
    for (
      const [command, expected] of [["list", /rdma: 1 device, 1 healthy/], [
        "doctor",
        /Deno's permissions do not allow it/,
      ]] as const
    ) {
      const { ended, output } = room.deno(
        "run",
        "--quiet",
        "-P=image",
        "/app/rdma-device-plugin.mjs",
        command,
        ...ROOTS,
      );
      equal(await within(ended, `the end of ${command}`), 0, output());
      match(output(), expected);
      deepEqual(complaints(output()), []);
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
