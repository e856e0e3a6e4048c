import { deepEqual, equal, match } from "@std/assert";
import { writeFileSync } from "node:fs";
import { join } from "node:path";
import { FakeKubelet } from "../../sim/mod.ts";
import { onHost } from "../support/plugin.ts";

const CONFIG = `
resources:
  - name: rdma/ib
    select: { hcas: [mlx5_0, mlx5_1] }
    health: { errors: { link_downed: 5 per 10m, link_downd: 5 per 10m } }
`;

Deno.test("the plugin, list and doctor with error rules: a rule that is exceeded, and one that never applies", async () => {
  await using place = onHost("gpu-rails");
  const config = join(place.dir, "config.yaml");
  writeFileSync(config, CONFIG);
  const kubelet = new FakeKubelet({ dir: place.kubeletDir });
  await kubelet.start();
  try {
    await place.host.setAttribute("mlx5_1", "ports/1/counters/link_downed", "255", { quiet: true });
    const plugin = place.start("--config", config, "--rescan", "0");
    match(await plugin.logged(/code=wrong-counter/, 20_000), /link_downd.*did you mean "link_downed"/);
    await plugin.logged(/health\.errors is checked every 10 s on 2 HCAs/, 20_000);
    const has = (devices: string) => ({ resources }: ReturnType<FakeKubelet["state"]>) =>
      resources["rdma/ib"]?.devices.map((one) => `${one.id}:${one.health}`).sort().join(" ") === devices;
    await kubelet.waitFor(has("mlx5_0:Healthy mlx5_1:Healthy"), { what: "both HCAs", timeoutMs: 20_000 });
    await place.host.setAttribute("mlx5_0", "ports/1/counters/link_downed", "7", { quiet: true });
    await plugin.logged(/mlx5_0: Healthy → Unhealthy: port 1's link_downed went up by 7 within 10m/, 30_000);
    await kubelet.waitFor(has("mlx5_0:Unhealthy mlx5_1:Healthy"), { what: "mlx5_0 Unhealthy", timeoutMs: 20_000 });

    const list = place.ask("list", "--json", "--config", config);
    equal((await list.ended).code, 0);
    const { hcas } = JSON.parse(list.log.find((line) => line.startsWith("{"))!);
    const errors = hcas.slice(0, 2).map((hca: { errors: object[] }) => hca.errors[0]);
    const rule = { counter: "link_downed", limit: 5, windowMs: 600_000, port: 1 };
    deepEqual(errors, [{ ...rule, value: 7, full: false }, { ...rule, value: 255, full: true }]);

    const doctor = place.ask("doctor", "--json", "--config", config);
    await doctor.ended;
    const findings: { id: string; what: string }[] = JSON.parse(doctor.log.find((line) => line.startsWith("["))!);
    const found = findings.filter((one) => one.id === "error-counters").map((one) => one.what);
    equal(found.length, 2, found.join("\n"));
    match(found[0]!, /link_downd/);
    match(found[1]!, /mlx5_1: port 1's link_downed is at its maximum of 255/);
  } finally {
    await kubelet.close();
  }
});
