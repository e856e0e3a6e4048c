import { deepEqual, equal, match, ok } from "@std/assert";
import { readdirSync, readFileSync } from "node:fs";
import { join } from "node:path";
import { checkFile, kustomize, manifestMistakes, podOf, ROOT, yamlFiles } from "../../tools/check_manifests.ts";
import { permissions } from "../../tools/bundle.ts";
import { documents, type Manifest } from "../../tools/ship/manifests.ts";
import { breaches } from "../../tools/ship/pod_security.ts";
import { loadConfig } from "../../src/config/mod.ts";
import { needs } from "../support/need.ts";

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

/** What stands between the plugin and the level "restricted"; docs/security.md says why each is so. */
const KNOWN_BREACHES = [
  "baseline HostPath Volumes",
  "baseline SELinux",
  "restricted Running as Non-root",
  "restricted Running as Non-root user",
];
const broken = (manifest: Manifest) =>
  [...new Set(breaches(podOf(manifest)).map((one) => `${one.level} ${one.control}`))].toSorted();

Deno.test("the pod breaks four controls of the pod security standards and no other", () => {
  deepEqual(broken(daemonSet()), KNOWN_BREACHES);
});

Deno.test("the pod security check sees what it must", () => {
  const pod = { containers: [{ name: "a" }] };
  deepEqual(broken({ kind: "Pod", spec: pod }), [
    "restricted Capabilities",
    "restricted Privilege Escalation",
    "restricted Running as Non-root",
    "restricted Seccomp",
  ]);
  const tight = {
    allowPrivilegeEscalation: false,
    runAsNonRoot: true,
    capabilities: { drop: ["ALL"] },
    seccompProfile: { type: "RuntimeDefault" },
  };
  deepEqual(broken({ kind: "Pod", spec: { containers: [{ name: "a", securityContext: tight }] } }), []);
  const loose = { ...tight, privileged: true, capabilities: { add: ["SYS_ADMIN"], drop: ["ALL"] } };
  const spec = { hostPID: true, containers: [{ name: "a", securityContext: loose, ports: [{ hostPort: 1 }] }] };
  deepEqual(broken({ kind: "Pod", spec }), [
    "baseline Capabilities",
    "baseline Host Namespaces",
    "baseline Host Ports",
    "baseline Privileged Containers",
    "restricted Capabilities",
  ]);
});

/** Mounts that the permission set of the image does not cover, and what it covers that nothing mounts is no fault. */
function uncovered(manifest: Manifest): readonly string[] {
  const { read, write } = permissions().image as { read: string[]; write: string[] };
  const mounts = podOf(manifest).containers.flatMap((one) => one.volumeMounts ?? []);
  return mounts.filter(({ mountPath, readOnly }) =>
    !read.includes(mountPath) || (readOnly !== true && !write.includes(mountPath))
  ).map((one) => one.mountPath);
}

Deno.test("the permission set lets the plugin read every mount and write to those that are not read-only", () => {
  deepEqual(uncovered(daemonSet()), []);
  const spec = { containers: [{ name: "a", volumeMounts: [{ name: "a", mountPath: "/host/sys" }] }] };
  deepEqual(uncovered({ kind: "Pod", spec }), ["/host/sys"]);
});

for (const overlay of OVERLAYS) {
  Deno.test({
    name: `the overlay ${overlay} builds, passes the schemas, and is no less secure than it says`,
    ...needs("kubectl"),
    fn() {
      const built = kustomize(`deploy/kustomize/overlays/${overlay}`)!;
      deepEqual(built.flatMap(manifestMistakes), []);
      const set = built.find((one) => one.kind === "DaemonSet");
      ok(set !== undefined, "there is no DaemonSet");
      deepEqual(uncovered(set), []);
      const more = overlay === "host-network" ? ["baseline Host Namespaces"] : [];
      deepEqual(broken(set), [...KNOWN_BREACHES, ...more].toSorted());
    },
  });
}
