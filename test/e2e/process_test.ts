import { equal, match, ok } from "@std/assert";
import { existsSync, readdirSync } from "node:fs";
import { join } from "node:path";
import { count, fakeKubelet, offered, RESOURCE } from "../support/kubelet.ts";
import { onHost } from "../support/plugin.ts";
import { within } from "../support/temp.ts";

// SIGTERM ends nearly every row of test/faults.
Deno.test("SIGINT removes the socket and ends the plugin with status 0", async () => {
  await using place = onHost("connectx-ib-dual");
  await using kubelet = await fakeKubelet(place.kubeletDir);
  const plugin = place.start();
  await offered(kubelet, 1);
  plugin.kill("SIGINT");
  const ended = await within(plugin.ended, "the plugin's end");
  equal(ended.code, 0, plugin.log.join("\n"));
  ok(!readdirSync(place.kubeletDir).some((name) => name.startsWith("rdma-")));
});

Deno.test("SIGTERM finishes a call in flight, and one during start-up is obeyed too", async () => {
  await using place = onHost("connectx-ib-dual");
  await using kubelet = await fakeKubelet(place.kubeletDir);
  const plugin = place.start();
  await offered(kubelet, 1);
  const calls = Promise.allSettled(Array.from({ length: 20 }, () => kubelet.allocate(RESOURCE, [["mlx5_0"]])));
  await kubelet.allocate(RESOURCE, [["mlx5_0"]]);
  plugin.kill("SIGTERM");
  const settled = await calls;
  equal((await plugin.ended).code, 0);
  equal(settled.filter((one) => one.status === "rejected").length, 0, "calls that were in flight must be answered");
});

Deno.test("SIGHUP looks again and registers again", async () => {
  await using place = onHost("connectx-roce-vfs");
  await using kubelet = await fakeKubelet(place.kubeletDir);
  const plugin = place.start("--rescan", "0", "--events", "poll");
  await offered(kubelet, 10);
  await place.host.removeVfs("mlx5_0", { quiet: true });
  equal(kubelet.state().resources[RESOURCE]!.allocatable, 10);
  plugin.kill("SIGHUP");
  await kubelet.waitFor(
    ({ resources }) => resources[RESOURCE]?.allocatable === 6 && count(kubelet, "registered") === 2,
    { what: "six HCAs after a second registration" },
  );
});

Deno.test("SIGHUP during start-up is obeyed once the plugin has started", async () => {
  await using place = onHost("connectx-ib-dual");
  await using kubelet = await fakeKubelet(place.kubeletDir);
  const plugin = place.start();
  await plugin.logged(/ starts pid=/);
  plugin.kill("SIGHUP");
  await plugin.logged(/SIGHUP: scanning/);
  await offered(kubelet, 1);
});

Deno.test("A plugin without HCAs stays up, offers none, and notices the first by looking", async () => {
  await using place = onHost("connectx-ib-dual");
  await place.host.removeHca("mlx5_0");
  await using kubelet = await fakeKubelet(place.kubeletDir);
  place.start("--rescan", "0.05", "--events", "poll");
  await kubelet.waitFor((state) => state.resources[RESOURCE]?.lists === 1, {
    what: "an empty list",
  });
  equal(kubelet.state().resources[RESOURCE]!.capacity, 0);
  await place.host.restoreHca("mlx5_0");
  await offered(kubelet, 1);
});

// What else may be wrong with them is in test/cli/mistake_codes_test.ts.
Deno.test("Wrong flags end with status 2 and one sentence, and nothing is started", async (t) => {
  await using place = onHost("connectx-roce-vfs");
  const cases: [string, string[], string][] = [
    ["an unknown flag", ["--colour"], "unknown-flag"],
    ["a master that is a VF", ["-master", "ens1f0v0"], "no-vfs"],
    ["a configuration that does not exist", ["--config", "/nowhere.yaml"], "unreadable-file"],
  ];
  for (const [what, flags, code] of cases) {
    await t.step(what, async () => {
      const plugin = place.start(...flags);
      equal((await plugin.ended).code, 2, plugin.log.join("\n"));
      equal(plugin.log.length, 1, plugin.log.join("\n"));
      ok(plugin.log[0]!.endsWith(` [${code}]`), plugin.log[0]!);
      equal(readdirSync(place.kubeletDir).length, 0);
    });
  }
});

Deno.test("--log-format json writes one object a line, and --version and --help say what they should", async () => {
  await using place = onHost("connectx-ib-dual");
  const plugin = place.start("--log-format", "json");
  await plugin.logged(/no-kubelet-socket/);
  for (const line of plugin.log) equal(typeof JSON.parse(line).message, "string");
  await plugin.stop();
  const version = place.start("--version");
  equal((await version.ended).code, 0);
  match(version.log.join(), /^rdma-device-plugin \d+\.\d+\.\d+$/);
  const help = place.start("--help");
  equal((await help.ended).code, 0);
  match(help.log.join("\n"), /--resource-name NAME/);
  ok(!existsSync(join(place.kubeletDir, "kubelet.sock")));
});
