/** `list` as a program of its own, beside a plugin that runs. */
import { equal } from "@std/assert";
import type { PluginProcess } from "../../sim/mod.ts";
import { count, fakeKubelet, offered } from "../support/kubelet.ts";
import { type OnHost, onHost } from "../support/plugin.ts";

/** A `list --watch` prints that the port is up, then that it is down, and ends with 0. */
async function seesAPortGoDown(watching: PluginProcess, { host }: OnHost): Promise<void> {
  await watching.logged(/"state":"ACTIVE"/);
  await host.portDown("mlx5_0", 1);
  const last = await watching.logged(/"healthy":false/);
  equal(JSON.parse(last).hcas[0].ports[0].state, "DOWN");
  watching.kill("SIGINT");
  equal((await watching.ended).code, 0);
}

Deno.test("list --json prints one object, --watch one for every change, and neither disturbs a running plugin", async () => {
  await using place = onHost("connectx-ib-dual");
  await using kubelet = await fakeKubelet(place.kubeletDir);
  place.start();
  await offered(kubelet, 1);
  const once = place.start("list", "--json");
  equal((await once.ended).code, 0, once.log.join("\n"));
  equal(JSON.parse(once.log.join("")).hcas[0].name, "mlx5_0");
  const watching = place.start("list", "--watch", "--json");
  await seesAPortGoDown(watching, place);
  await offered(kubelet, 0);
  equal(count(kubelet, "registered"), 1);
});

Deno.test("list --watch finds a port that went down where no event tells of it, long before its next scan", async () => {
  await using place = onHost("connectx-ib-dual");
  const watching = place.start("list", "--watch", "--json", "--events=poll", "--rescan=3600");
  await seesAPortGoDown(watching, place);
});
