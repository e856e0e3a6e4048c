import { deepEqual, equal, match, ok } from "@std/assert";
import { join } from "node:path";
import { intervalOf } from "../../src/agent/error_watch.ts";
import { devices } from "../../src/pool/devices.ts";
import type { ErrorRule, ResourceSpec } from "../../src/pool/spec.ts";
import { DEFAULT_SPEC } from "../../src/pool/spec.ts";
import type { AgentState } from "../../src/agent/agent.ts";
import { offered, RESOURCE } from "../support/kubelet.ts";
import { type Rig, rig, withCounters } from "../support/rig.ts";
import { run } from "../support/run.ts";

/** Windows that are short for a machine and long for a test. */
const rule = (counter: string, limit = 5, windowMs = 1_000): ErrorRule => ({ counter, limit, windowMs });
const withRules = (errors: readonly ErrorRule[], over: Partial<ResourceSpec> = {}): ResourceSpec => ({
  ...DEFAULT_SPEC,
  health: { ...DEFAULT_SPEC.health, settleMs: 0, errors },
  ...over,
});
const healthOf = ({ inventory }: AgentState, resource = RESOURCE) =>
  devices(inventory!.states.get(resource)!).map((one) => `${one.id}:${one.healthy}`).join(" ");
const watching = (plugin: Rig, n: number) =>
  plugin.state(({ errors }) => errors!.watched.length === n, `${n} counters are watched`);
const set = (plugin: Rig, hca: string, file: string, value: number) =>
  plugin.host.setAttribute(hca, `ports/1/${file}`, String(value), { quiet: true });

/** A pipe in the place of a counter: reading it waits, as sysfs waits for firmware. */
async function hang(plugin: Rig, hca: string, file: string): Promise<Deno.FsFile> {
  await plugin.host.removeFile(`class/infiniband/${hca}/ports/1/${file}`, { quiet: true });
  const path = join(plugin.host.hcaPath(hca), `ports/1/${file}`);
  run("mkfifo", [path]);
  return await Deno.open(path, { read: true, write: true });
}

Deno.test("without rules no counter is watched", async () => {
  await using plugin = await rig({ host: withCounters(2) });
  await plugin.registered();
  deepEqual(plugin.agent.state.errors!.watched, []);
});

Deno.test("a device is Unhealthy while a counter of its port grows too fast, and Healthy after a window without", async () => {
  await using plugin = await rig({ host: withCounters(3), specs: [withRules([rule("link_downed")])] });
  await plugin.registered();
  await watching(plugin, 3);
  await set(plugin, "mlx5_1", "counters/link_downed", 7);
  await plugin.state((state) => healthOf(state) === "mlx5_0:true mlx5_1:false mlx5_2:true", "mlx5_1 is Unhealthy");
  const refused = await plugin.kubelet.allocate(RESOURCE, [["mlx5_1"]]).then(() => "", (error: Error) => error.message);
  match(refused, /link_downed went up by 7 within 1s \(limit 5\)/);
  await offered(plugin.kubelet, 3);
  deepEqual(plugin.agent.state.changes.filter((one) => one.device === "mlx5_1").map((one) => one.to), [
    "Healthy",
    "Unhealthy",
    "Healthy",
  ]);
});

Deno.test("metrics, status page and its JSON show what is watched, and the rule that is exceeded", async () => {
  const slow = rule("link_downed", 5, 600_000);
  await using plugin = await rig({ host: withCounters(1), specs: [withRules([rule("symbol_error", 9, 1_000), slow])] });
  await plugin.registered();
  await watching(plugin, 2);
  await set(plugin, "mlx5_0", "counters/link_downed", 7);
  await plugin.state((state) => healthOf(state) === "mlx5_0:false", "mlx5_0 is Unhealthy");
  const { body } = await plugin.get("/metrics");
  const labels = (counter: string, rule: string) => `{hca="mlx5_0",port="1",counter="${counter}",rule="${rule}"}`;
  for (
    const line of [
      `rdma_device_plugin_watched_errors${labels("link_downed", "5 per 10m")} 7`,
      `rdma_device_plugin_watched_errors${labels("symbol_error", "9 per 1s")} 0`,
      `rdma_device_plugin_errors_exceeded${labels("link_downed", "5 per 10m")} 1`,
      `rdma_device_plugin_errors_exceeded${labels("symbol_error", "9 per 1s")} 0`,
    ]
  ) ok(body.includes(`${line}\n`), line);
  const [hca] = JSON.parse((await plugin.get("/state.json")).body).numa[0].roots[0].hcas;
  deepEqual(hca.errors.find((one: { counter: string }) => one.counter === "link_downed"), {
    counter: "link_downed",
    port: 1,
    count: 7,
    rule: "5 per 10m",
    exceeded: true,
  });
  match((await plugin.get("/")).body, /Port 1 link_downed: 7, limit 5 per 10m/);
});

Deno.test("an HCA whose counters hang delays nothing, is counted, and is judged again when they answer", async () => {
  await using plugin = await rig({ host: withCounters(3), specs: [withRules([rule("link_downed")])] });
  const pipe = await hang(plugin, "mlx5_1", "counters/link_downed");
  try {
    await plugin.registered();
    await plugin.state(({ errors }) => (errors!.skipped.get("mlx5_1") ?? 0) > 0, "mlx5_1 does not answer");
    await set(plugin, "mlx5_0", "counters/link_downed", 7);
    await plugin.state((state) => healthOf(state) === "mlx5_0:false mlx5_1:true mlx5_2:true", "mlx5_0 is Unhealthy");
    match((await plugin.get("/metrics")).body, /error_readings_skipped_total\{hca="mlx5_1"\} \d/);
  } finally {
    await pipe.write(new TextEncoder().encode("0\n"));
    pipe.close();
  }
});

Deno.test("only the counters that are named are read", async () => {
  await using plugin = await rig({ host: withCounters(1), specs: [withRules([rule("link_downed")])] });
  const pipe = await hang(plugin, "mlx5_0", "counters/symbol_error");
  try {
    await plugin.registered();
    await watching(plugin, 1);
    await set(plugin, "mlx5_0", "counters/link_downed", 7);
    await plugin.state((state) => healthOf(state) === "mlx5_0:false", "the counter beside it is read");
    equal(plugin.agent.state.errors!.skipped.size, 0);
  } finally {
    pipe.close();
  }
});

Deno.test("a reload that takes the rules away makes the device Healthy, and one that brings them begins to watch", async () => {
  const [before, after] = [withRules([rule("link_downed", 5, 600_000)]), withRules([])];
  await using plugin = await rig({ host: withCounters(1), specs: [before] });
  await plugin.registered();
  await watching(plugin, 1);
  await set(plugin, "mlx5_0", "counters/link_downed", 7);
  await plugin.state((state) => healthOf(state) === "mlx5_0:false", "mlx5_0 is Unhealthy");
  await plugin.agent.reconfigure([after]);
  await plugin.state((state) => healthOf(state) === "mlx5_0:true", "mlx5_0 is Healthy");
  await plugin.agent.reconfigure([withRules([rule("symbol_error")])]);
  await plugin.state(
    ({ errors }) => errors!.watched.some((one) => one.rule.counter === "symbol_error"),
    "the other counter is watched",
  );
});

Deno.test("counters are read every tenth of the shortest window, within bounds", () => {
  equal(intervalOf([rule("a", 1, 600_000), rule("b", 1, 30_000)]), 3_000);
  equal(intervalOf([rule("a", 1, 86_400_000)]), 10_000);
  equal(intervalOf([rule("a", 1, 1_000)]), 250);
  equal(intervalOf([]), 10_000);
});
