import { deepEqual, doesNotMatch, match, ok, throws } from "@std/assert";
import { readdirSync } from "node:fs";
import { join } from "node:path";
import type { PluginProcess } from "../../sim/mod.ts";
import { everyAddressBut } from "../support/addresses.ts";
import { box, complaints } from "../support/box.ts";
import { denyAllBut } from "../support/bundle.ts";
import { intrude } from "../support/intruder.ts";
import { fakeKubelet } from "../support/kubelet.ts";
import { needs } from "../support/need.ts";

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
async function started(server: string, ...narrowed: string[]): Promise<PluginProcess> {
  await using room = await box("broadcom-bnxt");
  for (const name of ["plugins_registry", "plugins/rdma.tencent.com"]) room.put(`/var/lib/kubelet/${name}/.keep`, "");
  room.put(`${ACCOUNT}/token`, "token");
  room.put(`${ACCOUNT}/ca.crt`, "");
  await using _kubelet = await fakeKubelet(room.kubeletDir, {
    podResourcesSocket: join(room.podResourcesDir, "kubelet.sock"),
  });
  const plugin = room.plugin("image-dra", [...ARGS, `--kube-api=${server}`], ...narrowed);
  await plugin.logged(/the ResourceSlices are not up to date/);
  await plugin.logged(/the DRA driver is served on/);
  // Where the driver is called is a path inside; a kubelet of this test, outside, could not dial it.
  ok(readdirSync(room.registryDir).includes("rdma.tencent.com-reg.sock"), readdirSync(room.registryDir).join());
  return plugin;
}

Deno.test({
  name: "the permission set image-dra refuses an API server with a public address, and the log says so",
  ...needs("root", "unshare"),
  async fn() {
    const log = (await started("https://192.0.2.1:443")).log.join("\n");
    match(log, /net access/);
    doesNotMatch(log, /ENETUNREACH/);
  },
});

/** What an intruder can do with the set, in the order of the attempts. */
const ALLOWED = [
  "read the host's HCAs",
  "see the host's nodes",
  "read the service account's token",
  "write a record of a claim",
];
const allowedOf = (lines: readonly string[]) =>
  lines.filter((line) => !line.endsWith(": refused")).map((line) => line.replace(": allowed", ""));

Deno.test({
  name:
    "within the permission set image-dra the private addresses can be reached, and nothing else beyond the driver's own",
  ...needs("root", "unshare"),
  async fn() {
    const lines = await intrude(["-P=image-dra"]);
    const addresses = ["connect to 10.96.0.1", "connect to 10.96.0.2", "connect to a node"];
    deepEqual(allowedOf(lines), [...ALLOWED, ...addresses, "load a library"]);
  },
});

Deno.test({
  name: "narrowed to the API server's address, the plugin reaches it, and an intruder nothing else",
  ...needs("root", "unshare"),
  async fn() {
    const flag = denyAllBut(["10.96.0.1"]);
    deepEqual(allowedOf(await intrude(["-P=image-dra", flag])), [...ALLOWED, "connect to 10.96.0.1", "load a library"]);
    const plugin = await started("https://10.96.0.1:443", flag);
    deepEqual(complaints(plugin), []);
    match(plugin.log.join("\n"), /cannot be reached \(connect ENETUNREACH/);
  },
});

Deno.test("everyAddressBut() has every address that is not spared, and none that is", () => {
  deepEqual(everyAddressBut("0.0.0.0/1", "192.0.0.0/2"), ["128.0.0.0/2"]);
  deepEqual(everyAddressBut(), ["0.0.0.0/0"]);
  const all = everyAddressBut("127.0.0.0/8", "10.96.0.1");
  const number = (text: string) => text.split(".").reduce((sum, one) => sum * 256 + Number(one), 0);
  const has = (address: string) =>
    all.filter((one) => {
      const [base = "", length] = one.split("/");
      const size = 2 ** (32 - Number(length));
      return Math.floor(number(base) / size) === Math.floor(number(address) / size);
    }).length;
  for (const address of ["10.96.0.0", "10.96.0.2", "0.0.0.0", "126.255.255.255", "128.0.0.0", "255.255.255.255"]) {
    deepEqual(has(address), 1, address);
  }
  for (const address of ["10.96.0.1", "127.0.0.0", "127.255.255.255"]) deepEqual(has(address), 0, address);
  throws(() => everyAddressBut("10.96.0"), /no IPv4 address/);
  throws(() => everyAddressBut("10.96.0.300"), /no IPv4 address/);
});
