import { deepEqual, equal, ok } from "@std/assert";
import { spawnSync } from "node:child_process";
import { chmodSync, readFileSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { execPath } from "node:process";
import { type FakeKubelet, pluginFlags, PluginProcess } from "../../sim/mod.ts";
import { parseCommandLine } from "../../src/cli/flags.ts";
import { fakeKubelet, offered } from "../support/kubelet.ts";
import { ROOT } from "../support/root.ts";
import { bundle } from "../support/bundle.ts";
import { needs } from "../support/need.ts";
import { onHost } from "../support/plugin.ts";
import { V8_FLAGS } from "../support/subject.ts";
import { temporaryDir } from "../support/temp.ts";

const UNIT = "deploy/systemd/rdma-device-plugin.service";
const LAUNCHER = "deploy/systemd/rdma-device-plugin";

const read = (file: string) => readFileSync(join(ROOT, file), "utf8");

const valuesOf = (key: string) =>
  read(UNIT).split("\n").filter((line) => line.startsWith(`${key}=`)).map((line) => line.slice(key.length + 1));

Deno.test("launcher and unit give V8 the flags of the image", () => {
  ok(read(LAUNCHER).includes(` --v8-flags=${V8_FLAGS} `));
  ok(valuesOf("ExecStart")[0]!.includes(` --v8-flags=${V8_FLAGS} `));
});

Deno.test("the unit gives the plugin flags that it knows, and the environment of the image", () => {
  const [program, flags] = valuesOf("ExecStart")[0]!.split("/rdma-device-plugin.mjs ");
  ok(program!.startsWith("/usr/local/bin/deno run -A "));
  equal(parseCommandLine(flags!.split(" "), {}).ok, true);
  const environment = valuesOf("Environment").join(" ").split(" ");
  const image = read("Dockerfile");
  deepEqual(environment.filter((one) => !image.includes(one)), []);
});

Deno.test({
  name: "systemd-analyze verify has nothing to say about the unit",
  ...needs("systemd-analyze"),
  fn() {
    using dir = temporaryDir();
    const file = join(dir.path, "rdma-device-plugin.service");
    writeFileSync(file, read(UNIT).replace("/usr/local/bin/deno", execPath));
    const { status, stdout, stderr } = spawnSync("systemd-analyze", ["verify", "--man=no", file], { encoding: "utf8" });
    const said = `${stdout}${stderr}`.split("\n").filter((line) => line.includes("rdma-device-plugin"));
    deepEqual(said, []);
    equal(status, 0, stderr);
    writeFileSync(file, read(UNIT).replace("/usr/local/bin/deno", execPath).replace("Restart=", "Restrat="));
    const typo = spawnSync("systemd-analyze", ["verify", "--man=no", file], { encoding: "utf8" });
    ok(typo.stderr.includes("Restrat"), typo.stderr);
  },
});

Deno.test("the launcher runs the plugin from the checkout, by any name and from anywhere, with the image's flags", async () => {
  await using place = onHost("connectx-ib-dual");
  await using kubelet = await fakeKubelet(place.kubeletDir);
  const link = join(place.dir, "plugin");
  Deno.symlinkSync(join(ROOT, LAUNCHER), link);
  const deno = join(place.dir, "deno here");
  writeFileSync(deno, `#!/bin/sh\nexec '${execPath}' "$@"\n`);
  chmodSync(deno, 0o755);
  const command = ["env", "-C", "/", `DENO=${deno}`, link, ...pluginFlags(place.host, place.kubeletDir)];
  await registers(kubelet, command, "/mod.ts");
});

Deno.test("the unit's command runs the bundle, with its environment and the image's flags", async () => {
  using dir = temporaryDir();
  const program = join(dir.path, "rdma-device-plugin.mjs");
  await bundle(dir.path);
  await using place = onHost("connectx-ib-dual");
  await using kubelet = await fakeKubelet(place.kubeletDir);
  const start = valuesOf("ExecStart")[0]!.replace("/usr/local/bin/deno", execPath)
    .replace("/opt/rdma-device-plugin/rdma-device-plugin.mjs", program).replace(":9178", ":0");
  const command = ["env", ...valuesOf("Environment").join(" ").split(" "), ...start.split(" ")];
  await registers(kubelet, [...command, ...pluginFlags(place.host, place.kubeletDir)], program);
});

/** Runs that command until the kubelet has the HCA; checks what the process was started with, and how it ends. */
async function registers(kubelet: FakeKubelet, command: readonly string[], program: string) {
  const plugin = new PluginProcess(command);
  try {
    await offered(kubelet, 1);
    const words = readFileSync(`/proc/${plugin.pid}/cmdline`, "utf8").split("\0");
    ok(words.includes(`--v8-flags=${V8_FLAGS}`), words.join(" "));
    equal(words.filter((word) => word.endsWith(program)).length, 1);
  } finally {
    deepEqual(await plugin.stop(), { code: 0, signal: null }, plugin.log.join("\n"));
  }
}
