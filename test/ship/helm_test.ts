import { deepEqual, doesNotMatch, equal, match, ok, throws } from "@std/assert";
import { spawnSync } from "node:child_process";
import { readdirSync, readFileSync } from "node:fs";
import { join } from "node:path";
import { manifestMistakes, podOf } from "../support/manifests/files.ts";
import { ROOT } from "../support/root.ts";
import { CASES, CHART, GOLDEN, render } from "./chart_cases.ts";
import { valuesMistakes } from "../support/manifests/chart.ts";
import { documents } from "../support/manifests/schemas.ts";
import { goldenFile } from "../support/golden.ts";
import { needs } from "../support/need.ts";
import { broken, KNOWN_BREACHES, ON_THE_HOST, uncovered } from "../support/manifests/walls.ts";

const golden = (name: string) => readFileSync(join(ROOT, GOLDEN, `${name}.yaml`), "utf8");
const valuesOf = (values: unknown) => valuesMistakes(join(ROOT, CHART), values);

for (const [name, values] of Object.entries(CASES)) {
  Deno.test(`the chart with the values ${name} passes the schemas, and so do the values`, () => {
    deepEqual(valuesOf(values), []);
    const all = documents(golden(name), name);
    ok(all.some((one) => one.kind === "DaemonSet"));
    deepEqual(all.flatMap(manifestMistakes), []);
  });

  Deno.test({
    name: `the chart with the values ${name} is no less secure than docs/security.md says`,
    ...needs("go"),
    async fn() {
      const set = documents(golden(name), name).find((one) => one.kind === "DaemonSet")!;
      deepEqual(uncovered(set), []);
      const more = values.hostNetwork === true ? ON_THE_HOST : [];
      const less = values.seLinuxType === "" ? ["baseline seLinuxOptions"] : [];
      deepEqual(await broken(set), [...KNOWN_BREACHES, ...more].filter((one) => !less.includes(one)).toSorted());
    },
  });

  Deno.test({
    name: `helm renders the values ${name} to the golden file`,
    ...needs("helm"),
    fn: () => goldenFile(`${GOLDEN}/${name}.yaml`, render(values)),
  });
}

Deno.test("every golden file has its case", () => {
  deepEqual(readdirSync(join(ROOT, GOLDEN)).toSorted(), Object.keys(CASES).map((name) => `${name}.yaml`).toSorted());
});

Deno.test("the chart's defaults are the pod of rdma-device-plugin.yml", () => {
  const podIn = (text: string) => podOf(documents(text, "").find((one) => one.kind === "DaemonSet")!);
  const chart = podIn(golden("defaults"));
  const manifest = podIn(readFileSync(join(ROOT, "rdma-device-plugin.yml"), "utf8"));
  const [ours] = chart.containers;
  // The chart says what the program assumes anyway.
  const said = ["--log-format=text", "--resource-name=tencent.com/rdma"];
  const same = { ...chart, containers: [{ ...ours!, args: ours!.args!.filter((flag) => !said.includes(flag)) }] };
  deepEqual(same, manifest);
});

Deno.test("values that mean nothing are refused before anything is rendered", () => {
  match(valuesOf({ hostNetwrok: true }).join(), /hostNetwrok/);
  match(valuesOf({ logLevel: "loud" }).join(), /logLevel/);
  match(valuesOf({ kubeletRoot: "/var/lib/kubelet/" }).join(), /kubeletRoot/);
  match(valuesOf({ extraArgs: ["resource-prefix"] }).join(), /extraArgs/);
});

Deno.test({
  name: "helm finds nothing to complain of in the chart",
  ...needs("helm"),
  fn() {
    const { status, stdout } = spawnSync("helm", ["lint", "--strict", CHART], { cwd: ROOT, encoding: "utf8" });
    equal(status, 0, stdout);
  },
});

Deno.test({
  name: "two releases, for two pools of nodes, have no object in common where the second leaves the DeviceClass out",
  ...needs("helm"),
  fn() {
    const namesIn = (release: string, deviceClass: boolean) => {
      const values = { dra: { enabled: true, deviceClass }, kubernetesEvents: true, nodeLabels: true };
      return documents(render(values, "1.34.0", release), release).map(({ kind, metadata }) =>
        `${kind} ${(metadata as { name?: string } | undefined)?.name}`
      );
    };
    const [first, second] = [namesIn("gpu", true), namesIn("storage", false)];
    ok(first.includes("DeviceClass rdma.tencent.com"), first.join());
    deepEqual(second.filter((one) => first.includes(one)), []);
    deepEqual(namesIn("storage", true).filter((one) => first.includes(one)), ["DeviceClass rdma.tencent.com"]);
  },
});

Deno.test({
  name: "helm refuses CDI where the kubelet would not pass it on, and leaving it out elsewhere is enough",
  ...needs("helm"),
  fn() {
    throws(() => render({ cdi: true }, "1.27.9"), /cdi needs Kubernetes 1.28/);
    match(render({ cdi: true }, "1.28.0"), /--cdi/);
    doesNotMatch(render({}, "1.26.0"), /--cdi/);
  },
});

Deno.test({
  name: "helm leaves the admission policies out where the API server has none, and the rights stay",
  ...needs("helm"),
  fn() {
    const values = { kubernetesEvents: true, nodeLabels: true };
    match(render(values, "1.30.0"), /kind: ValidatingAdmissionPolicy/);
    doesNotMatch(render(values, "1.29.9"), /kind: ValidatingAdmissionPolicy/);
    match(render(values, "1.29.9"), /nodes\/status/);
  },
});

Deno.test({
  name: "helm refuses a misspelt value, and the watcher on a kubelet that lives elsewhere",
  ...needs("helm"),
  fn() {
    throws(() => render({ hostNetwrok: true }), /hostNetwrok/);
    throws(() => render({ watcher: true, kubeletRoot: "/var/snap/kubelet" }), /watcher needs kubeletRoot/);
    throws(() => render({ dra: { enabled: true }, kubeletRoot: "/var/snap/kubelet" }), /dra needs kubeletRoot/);
    throws(() => render({ dra: { enabled: true } }, "1.33.1"), /dra needs Kubernetes 1.34/);
    throws(() => render({ dra: { enabled: true }, noFfi: true }), /two different permission sets/);
    throws(() => render({ kubernetesEvents: true, noFfi: true }), /two different permission sets/);
  },
});
