import { deepEqual, equal, match, ok } from "@std/assert";
import { renameSync, symlinkSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { DEFAULT_SPEC, type ResourceSpec } from "../../src/pool/spec.ts";
import { count, fakeKubelet, offered } from "../support/kubelet.ts";
import { onHost } from "../support/plugin.ts";
import { QUICK_HEALTH, seen, world } from "../support/world.ts";

const resource = (name: string, over: Partial<ResourceSpec>): ResourceSpec => ({
  ...DEFAULT_SPEC,
  name,
  health: QUICK_HEALTH,
  ...over,
});

Deno.test("A reload under 1,000 Allocates in flight fails none of a resource that stays", async () => {
  const rail = resource("rdma/rail", { select: [{ numaNodes: [0], linkLayers: ["InfiniBand"] }] });
  const other = resource("rdma/other", { select: [{ numaNodes: [1] }] });
  const third = resource("rdma/third", {
    select: [{ numaNodes: [1] }],
    mode: { kind: "shared", shares: 5, of: "all" },
  });
  await using one = await world({ host: "gpu-rails", specs: [rail, other] });
  await offered(one.kubelet, 5, "rdma/other");
  const lists = () => one.kubelet.state().resources["rdma/rail"]!.lists;
  const before = lists();

  const configurations = [[rail, third], [structuredClone(rail), other], [other, rail, third], [rail]];
  const calls: Promise<unknown>[] = [];
  let reloads = 0;
  for (let i = 0; i < 1_000; i++) {
    calls.push(one.kubelet.allocate("rdma/rail", [[`mlx5_${i % 4}`]]));
    if (i % 50 === 0) await one.agent.reconfigure(configurations[reloads++ % configurations.length]!);
  }
  const settled = await Promise.allSettled(calls);
  deepEqual(settled.filter((call) => call.status === "rejected"), []);
  ok(reloads >= 20);
  equal(lists(), before, "a resource that stays sends no list");
  equal(count(one.kubelet, "registered", "rdma/rail"), 1);
});

Deno.test("A reload starts, changes and stops only what differs", async () => {
  const a = resource("rdma/a", { select: [{ hcas: ["mlx5_0"] }] });
  const b = resource("rdma/b", { select: [{ hcas: ["mlx5_1"] }] });
  await using one = await world({ host: "gpu-rails", specs: [a, b] });
  const { kubelet } = one;
  await offered(kubelet, 1, "rdma/b");
  const wider = resource("rdma/b", { select: [{ hcas: ["mlx5_1", "mlx5_2"] }] });
  await one.agent.reconfigure([a, wider]);
  await offered(kubelet, 2, "rdma/b");
  equal(count(kubelet, "registered", "rdma/b"), 1);
  await one.agent.reconfigure([wider]);
  await kubelet.waitFor((state) => state.resources["rdma/a"]?.endpoint === null, { what: "a without a plugin" });
  await one.agent.reconfigure([wider, a]);
  await offered(kubelet, 1, "rdma/a");
  deepEqual(seen(kubelet, "rdma/b"), ["mlx5_1:Healthy", "mlx5_2:Healthy"]);
});

Deno.test("A ConfigMap update swaps a link and is followed; one with mistakes changes nothing and is told", async () => {
  await using place = onHost("gpu-rails");
  await using kubelet = await fakeKubelet(place.kubeletDir);
  const volume = place.dir;
  // As the kubelet mounts a ConfigMap: config.yaml -> ..data/config.yaml, ..data -> ..TIME, swapped by rename.
  const update = (version: string, text: string) => {
    Deno.mkdirSync(join(volume, version));
    writeFileSync(join(volume, version, "config.yaml"), text);
    symlinkSync(version, join(volume, "..data_tmp"));
    renameSync(join(volume, "..data_tmp"), join(volume, "..data"));
  };
  const config = (pattern: string) => `resources:\n  - name: rdma/rails\n    select: { hcas: ["${pattern}"] }\n`;
  update("..1", config("mlx5_[0-3]").replace("[0-3]", "?"));
  symlinkSync("..data/config.yaml", join(volume, "config.yaml"));
  const plugin = place.start("--config", join(volume, "config.yaml"));
  await offered(kubelet, 9, "rdma/rails");
  update("..2", config("mlx5_0"));
  await offered(kubelet, 1, "rdma/rails");
  update("..3", "resources:\n  - name: rdma/rails\n    selekt: {}\n");
  match(await plugin.logged(/selekt/), /config\.yaml:3:5: .*selekt/);
  equal(kubelet.state().resources["rdma/rails"]!.allocatable, 1);
  update("..4", config("mlx5_*"));
  await offered(kubelet, 9, "rdma/rails");
});

Deno.test(
  "A reload obeys a changed rescan, unless the flag is given, and says which one is in force",
  async () => {
    await using place = onHost("connectx-ib-dual");
    await using _kubelet = await fakeKubelet(place.kubeletDir);
    const path = join(place.dir, "config.yaml");
    const write = (rescan: string) => {
      writeFileSync(`${path}.new`, `rescan: ${rescan}\nresources: [{ name: rdma/hca }]\n`);
      renameSync(`${path}.new`, path);
    };
    write("0");
    const plugin = place.ask("run", "--config", path, "--events", "poll", "--log-level", "debug");
    await plugin.logged(/registered/i);
    write("1s");
    match(await plugin.logged(/is active/), /rescan="?1 s \(the configuration\)/);
    await plugin.logged(/because of timer/);
    await plugin.stop();

    const flagged = place.start("--config", path, "--rescan", "300", "--events", "poll");
    match(await flagged.logged(/--rescan 300 takes/), /sets a rescan every 1 s, but --rescan 300 takes precedence/);
    write("2s");
    match(await flagged.logged(/is active/), /rescan="?300 s \(--rescan\)/);
  },
);
