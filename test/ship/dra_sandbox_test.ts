import { deepEqual, doesNotMatch, match, ok } from "@std/assert";
import { readdirSync } from "node:fs";
import { join } from "node:path";
import { FakeKubelet } from "../../sim/mod.ts";
import { box, complaints } from "../support/box.ts";
import { needs } from "../support/need.ts";
import { within } from "../support/temp.ts";

const ARGS = [
  "--sysfs-root=/host/sys",
  "--dev-root=/host/dev",
  "--rescan=1",
  "--http=:9178",
  "--api=dra",
  "--node-name=n1",
];
const ACCOUNT = "/var/run/secrets/kubernetes.io/serviceaccount";

/** A network without any way out: what Deno lets pass ends at the kernel, and what it refuses never gets there. */
async function started(server: string, settled: RegExp): Promise<string> {
  await using room = await box("broadcom-bnxt");
  for (const name of ["plugins_registry", "plugins/rdma.tencent.com"]) room.put(`/var/lib/kubelet/${name}/.keep`, "");
  room.put(`${ACCOUNT}/token`, "token");
  room.put(`${ACCOUNT}/ca.crt`, "");
  const kubelet = new FakeKubelet({
    dir: room.kubeletDir,
    podResourcesSocket: join(room.podResourcesDir, "kubelet.sock"),
  });
  await using _ = { [Symbol.asyncDispose]: () => kubelet.close() };
  await kubelet.start();
  const { output, child } = room.deno(
    "run",
    "--quiet",
    "-P=image-dra",
    "/app/rdma-device-plugin.mjs",
    ...ARGS,
    `--kube-api=${server}`,
  );
  const said = new Promise<void>((resolve) => {
    const look = () => {
      if (settled.test(output()) && /the DRA driver is served on/.test(output())) resolve();
    };
    for (const stream of [child.stdout, child.stderr]) stream?.on("data", look);
    look();
  });
  const sockets = () => readdirSync(room.registryDir).includes("rdma.tencent.com-reg.sock");
  await within(said, `${settled} in the log: ${output()}`).catch((error: unknown) => {
    throw new Error(`${error}\n${output()}`);
  });
  // Where the driver is called is a path inside; a kubelet of this test, outside, could not dial it.
  ok(sockets(), readdirSync(room.registryDir).join());
  return output();
}

Deno.test({
  name: "the DRA driver registers and asks a private API server within the permission set image-dra",
  ...needs("root", "unshare"),
  async fn() {
    const log = await started("https://10.96.0.1:443", /the ResourceSlices are not up to date/);
    deepEqual(complaints(log), []);
    match(log, /cannot be reached \(connect ENETUNREACH/);
  },
});

Deno.test({
  name: "the permission set image-dra refuses an API server with a public address, and the log says so",
  ...needs("root", "unshare"),
  async fn() {
    const log = await started("https://192.0.2.1:443", /the ResourceSlices are not up to date/);
    match(log, /net access/);
    doesNotMatch(log, /ENETUNREACH/);
  },
});
