import { deepEqual, equal, match, ok, throws } from "@std/assert";
import { cpSync, readdirSync, readFileSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { checkFile, kustomize, manifestMistakes, podOf, yamlFiles } from "../support/manifests/files.ts";
import { ROOT } from "../support/root.ts";
import { documents, type Manifest } from "../support/manifests/schemas.ts";
import { loadConfig } from "../../src/config/mod.ts";
import { needs } from "../support/need.ts";
import { temporaryDir } from "../support/temp.ts";
import { broken, KNOWN_BREACHES, ON_THE_HOST, uncovered } from "../support/manifests/walls.ts";

const MAIN = "rdma-device-plugin.yml";
const read = (file: string) => readFileSync(join(ROOT, file), "utf8");
const daemonSet = () => documents(read(MAIN), MAIN)[0]!;
const OVERLAYS = readdirSync(join(ROOT, "deploy/kustomize/overlays")).toSorted();

Deno.test("every YAML file of the repository is right, or something else is named that checks it", () => {
  const files = yamlFiles();
  for (const file of [MAIN, "deploy/examples/vf-multus.yaml", "deploy/kustomize/base/daemonset.yaml"]) {
    ok(files.includes(file), `${file} was not looked at`);
  }
  deepEqual(files.map((file) => checkFile(file)).filter((one) => one.mistakes.length > 0), []);
});

for (
  const [what, from, to, complaint] of [
    ["a misspelt field", "automountServiceAccountToken:", "automountServiceAcountToken:", /there is no such field/],
    ["a misspelt field deep inside", "readOnlyRootFilesystem:", "readonlyRootFilesystem:", /there is no such field/],
    ["a wrong type", "containerPort: 9178", 'containerPort: "9178"', /containerPort must be integer/],
    [
      "a missing field",
      "  selector:\n    matchLabels:\n      app.kubernetes.io/name: rdma-device-plugin\n",
      "",
      /selector/,
    ],
    ["an API that is gone", "apiVersion: apps/v1", "apiVersion: extensions/v1beta1", /no schema is known/],
    ["a misspelt flag of the plugin", "--sysfs-root=", "--sysfs-rot=", /There is no flag --sysfs-rot/],
    ["a mount without a volume", "- name: sys\n          hostPath", "- name: sis\n          hostPath", /no volume/],
    ["broken YAML", "spec:\n  selector", "spec:\n selector", /column|indent/i],
  ] as const
) {
  Deno.test(`a manifest with ${what} is refused`, () => {
    const text = read(MAIN);
    ok(text.includes(from), `the manifest has no ${from}`);
    const { mistakes } = checkFile(MAIN, text.replace(from, to));
    match(mistakes.join("\n"), complaint);
  });
}

Deno.test("a misspelt field in a PodMonitor, a ConfigMap and a NetworkAttachmentDefinition is refused", () => {
  const monitor = documents(read("deploy/kustomize/components/metrics/podmonitor.yaml"), "")[0]!;
  const typo = { ...monitor, spec: { ...monitor.spec as object, podMetricEndpoints: [] } };
  match(manifestMistakes(typo).join(), /podMetricEndpoints: there is no such field/);
  const map = { apiVersion: "v1", kind: "ConfigMap", metadata: { name: "a" }, dta: {} };
  match(manifestMistakes(map).join(), /\/dta: there is no such field/);
  const [attachment] = documents(read("deploy/examples/vf-multus.yaml"), "");
  deepEqual(manifestMistakes(attachment!), []);
  match(manifestMistakes({ ...attachment, spec: { config: "{" } }).join(), /must be a JSON object/);
});

Deno.test("what a map holds is no unknown field: labels, limits, data", () => {
  const pod: Manifest = {
    apiVersion: "v1",
    kind: "Pod",
    metadata: { name: "a", labels: { "any/thing": "b" }, annotations: { x: "y" } },
    spec: { containers: [{ name: "a", image: "b", resources: { limits: { "tencent.com/rdma": 1 } } }] },
  };
  deepEqual(manifestMistakes(pod), []);
});

Deno.test("the base of the overlays is the manifest at the root, word for word", () => {
  equal(read("deploy/kustomize/base/daemonset.yaml"), read(MAIN), "run deno task manifests");
});

Deno.test("the example configuration of the config overlay loads", async () => {
  const result = await loadConfig(join(ROOT, "deploy/kustomize/overlays/config/config.yaml"));
  ok(result.ok, JSON.stringify(result));
  deepEqual(result.config.warnings, []);
});

Deno.test({
  name: "the pod breaks the controls of the pod security standards that docs/security.md names, and no other",
  ...needs("go"),
  async fn() {
    deepEqual(await broken(daemonSet()), KNOWN_BREACHES);
    ok((await broken({ kind: "Pod", spec: { hostPID: true, containers: [] } })).includes("baseline host namespaces"));
  },
});

Deno.test("the permission set lets the plugin read every mount and write to those that are not read-only", () => {
  deepEqual(uncovered(daemonSet()), []);
  const spec = { containers: [{ name: "a", volumeMounts: [{ name: "a", mountPath: "/host/sys" }] }] };
  deepEqual(uncovered({ kind: "Pod", spec }), ["/host/sys"]);
});

/** Resources that a file of examples/config makes. */
async function resourcesOf(config: string): Promise<readonly string[]> {
  const result = await loadConfig(join(ROOT, config));
  ok(result.ok, JSON.stringify(result));
  return result.config.resources.map((one) => one.name);
}

for (const name of readdirSync(join(ROOT, "deploy/examples"))) {
  Deno.test(`the example ${name} asks for a resource that is there without a configuration, or with the one that it names`, async () => {
    const file = `deploy/examples/${name}`;
    const config = /examples\/config\/[\w-]+\.yaml/.exec(read(file))?.[0];
    const known = config === undefined ? ["tencent.com/rdma"] : await resourcesOf(config);
    const pods = documents(read(file), file).filter((one) => one.kind !== "NetworkAttachmentDefinition");
    const asked = pods.flatMap((one) => podOf(one).containers).flatMap((one) =>
      Object.keys((one as { resources?: { limits?: object } }).resources?.limits ?? {}).filter((key) =>
        key.includes("/")
      )
    );
    equal(asked.length, 1);
    ok(known.includes(asked[0]!), `${asked[0]} is none of ${known.join(", ")}`);
    for (const one of documents(read(file), file)) {
      const { annotations } = one.metadata as { annotations?: Record<string, string> };
      equal(annotations?.["k8s.v1.cni.cncf.io/resourceName"] ?? asked[0], asked[0]);
    }
  });
}

Deno.test("every component is part of an overlay, so that what it makes is checked", () => {
  const used = OVERLAYS.flatMap((overlay) => {
    const file = `deploy/kustomize/overlays/${overlay}/kustomization.yaml`;
    return (documents(read(file), file)[0]!.components ?? []) as string[];
  });
  const all = readdirSync(join(ROOT, "deploy/kustomize/components")).map((name) => `../../components/${name}`);
  deepEqual([...new Set(used)].toSorted(), all.toSorted());
});

for (
  const [what, file, from, to] of [
    ["an overlay", "overlays/cdi", "components:", "componets:"],
    ["a component's patch", "components/cdi", "mountPath: /var", "mountPaht: /var"],
    ["a component's flag", "components/cdi", "value: --cdi", "value: --cid"],
    ["a path of a patch", "components/cdi", "containers/0/args/-", "containers/0/arg/-"],
  ] as const
) {
  Deno.test({
    name: `a typo in ${what} is found when the overlay is built`,
    ...needs("kubectl"),
    fn() {
      using dir = temporaryDir();
      cpSync(join(ROOT, "deploy/kustomize"), dir.path, { recursive: true });
      const path = join(dir.path, file, "kustomization.yaml");
      const text = readFileSync(path, "utf8");
      ok(text.includes(from), `${file} has no ${from}`);
      writeFileSync(path, text.replace(from, to));
      throws(() => {
        const mistakes = kustomize(join(dir.path, "overlays/cdi"))!.flatMap(manifestMistakes);
        if (mistakes.length > 0) throw new Error(mistakes.join());
      });
    },
  });
}

for (const overlay of OVERLAYS) {
  Deno.test({
    name: `the overlay ${overlay} builds, passes the schemas, and is no less secure than it says`,
    ...needs("kubectl", "go"),
    async fn() {
      const built = kustomize(`deploy/kustomize/overlays/${overlay}`)!;
      deepEqual(built.flatMap(manifestMistakes), []);
      const set = built.find((one) => one.kind === "DaemonSet");
      ok(set !== undefined, "there is no DaemonSet");
      deepEqual(uncovered(set), []);
      const more = overlay === "host-network" ? ON_THE_HOST : [];
      deepEqual(await broken(set), [...KNOWN_BREACHES, ...more].toSorted());
    },
  });
}
