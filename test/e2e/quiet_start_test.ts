import { deepEqual, equal } from "@std/assert";
import { readFileSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { PRESETS } from "../../sim/mod.ts";
import { fakeKubelet } from "../support/kubelet.ts";
import { podOf } from "../support/manifests/files.ts";
import { ROOT } from "../support/root.ts";
import { documents } from "../support/manifests/schemas.ts";
import { onHost } from "../support/plugin.ts";

/** What the manifest says, with the host's trees where this test has them, and a port that is free. */
function shipped(roots: { readonly sysfsRoot: string; readonly devRoot: string }): string[] {
  const file = "rdma-device-plugin.yml";
  const { containers } = podOf(documents(readFileSync(join(ROOT, file), "utf8"), file)[0]!);
  return (containers[0] as { args: string[] }).args
    .map((arg) => arg.replace("/host/sys", roots.sysfsRoot).replace("/host/dev", roots.devRoot))
    .map((arg) => arg.replace("--http=:9178", "--http=127.0.0.1:0"));
}

/** Notes that are right: something is wrong with that host, and an operator should know. */
const RIGHT: Readonly<Record<string, readonly RegExp[]>> = {
  empty: [/note: class\/infiniband in sysfs is empty/],
  "no-modules": [/note: class\/infiniband does not exist in sysfs: no RDMA driver is loaded/],
};

/** The image has the library; the machine that runs the test need not. */
const OF_THIS_MACHINE = /note: libibverbs is not available/;

/** Lines of a log that ask for an operator's attention. */
function alarmsOf(log: readonly string[]): string[] {
  return log.flatMap((entry) => entry.split("\n")).filter((line) => /^\s*note:| WARN | ERROR /.test(line));
}

for (const name of Object.keys(PRESETS)) {
  Deno.test(`the log of a start with the shipped arguments on ${name} is one block without a false alarm`, async () => {
    await using place = onHost(name);
    await using kubelet = await fakeKubelet(place.kubeletDir);
    const plugin = place.ask("run", ...shipped(place.host));
    await kubelet.waitFor((state) => (state.resources["tencent.com/rdma"]?.lists ?? 0) > 0, {
      what: "a list",
    });
    await plugin.logged(/found /);
    await plugin.stop();
    const alarms = alarmsOf(plugin.log).filter((line) => !OF_THIS_MACHINE.test(line));
    const expected = RIGHT[name] ?? [];
    deepEqual(alarms.filter((line) => !expected.some((one) => one.test(line))), [], name);
    equal(alarms.length, expected.length, plugin.log.join("\n"));
  });
}

Deno.test("a configuration that asks for a rescan of its own is no alarm with the shipped arguments", async () => {
  await using place = onHost("connectx-ib-dual");
  const config = join(place.dir, "config.yaml");
  writeFileSync(config, "rescan: 1m\nresources: [{ name: rdma/hca }]\n");
  const flags = [...shipped(place.host), "--kubelet-dir", place.kubeletDir, "--config", config];
  const plugin = place.ask("run", ...flags);
  await plugin.logged(/found 1 HCA/);
  await plugin.stop();
  deepEqual(alarmsOf(plugin.log).filter((line) => /rescan/.test(line)), []);
});
