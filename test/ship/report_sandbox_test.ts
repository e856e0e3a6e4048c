import { deepEqual, doesNotMatch, match } from "@std/assert";
import { existsSync, readFileSync } from "node:fs";
import { join } from "node:path";
import { fakeKubelet, offered } from "../support/kubelet.ts";
import { box, complaints } from "../support/box.ts";
import { needs } from "../support/need.ts";
import type { PermissionSet } from "../support/bundle.ts";

const FEATURES = "/etc/kubernetes/node-feature-discovery/features.d";
const ACCOUNT = "/var/run/secrets/kubernetes.io/serviceaccount";
const ROOTS = ["--sysfs-root=/host/sys", "--dev-root=/host/dev", "--rescan=1", "--node-name=n1"];

/** Runs the plugin in a network without any way out until its log matches; gives the log and the feature file. */
async function started(set: PermissionSet, flags: readonly string[], settled: RegExp) {
  await using room = await box("broadcom-bnxt");
  room.put(`${ACCOUNT}/token`, "token");
  room.put(`${ACCOUNT}/ca.crt`, "");
  await using kubelet = await fakeKubelet(room.kubeletDir);
  const plugin = room.plugin(set, [...ROOTS, ...flags]);
  await plugin.logged(settled);
  await offered(kubelet, 2);
  const file = join(room.featureDir, "rdma-device-plugin");
  return { plugin, features: existsSync(file) ? readFileSync(file, "utf8") : null };
}

Deno.test({
  name: "reports ask a private API server within the permission set image-api, and the plugin serves without it",
  ...needs("root", "unshare"),
  async fn() {
    const flags = ["--kubernetes-events", "--node-labels", "--kube-api=https://10.96.0.1:443"];
    const { plugin } = await started("image-api", flags, /Cannot write the condition RDMAReady/);
    deepEqual(complaints(plugin), []);
    match(plugin.log.join("\n"), /cannot be reached \(connect ENETUNREACH/);
  },
});

Deno.test({
  name: "the permission set image-api refuses an API server with a public address, and the log says so",
  ...needs("root", "unshare"),
  async fn() {
    const flags = ["--kubernetes-events", "--kube-api=https://192.0.2.1:443"];
    const { plugin } = await started("image-api", flags, /Cannot write the condition RDMAReady/);
    const log = plugin.log.join("\n");
    match(log, /net access/);
    doesNotMatch(log, /ENETUNREACH/);
  },
});

for (const set of ["image", "no-ffi", "image-api"] as const) {
  Deno.test({
    name: `the feature file is written within the permission set ${set}`,
    ...needs("root", "unshare"),
    async fn() {
      const { plugin, features } = await started(set, [`--nfd-features=${FEATURES}`], /registered/);
      deepEqual(complaints(plugin), []);
      match(features ?? "", /^rdma\.tencent\.com\/hcas=2$/m);
    },
  });
}
