/** The configuration files of row 12 and 9, and the CDI specs of row 19, through the program itself. */
import { deepEqual, equal, match } from "@std/assert";
import { copyFileSync, existsSync, mkdirSync, readdirSync } from "node:fs";
import { join } from "node:path";
import { startPlugin } from "../../sim/mod.ts";
import { temporaryDir } from "../support/temp.ts";
import { buildHost, readPlan } from "./build.ts";
import { path } from "./node.ts";

/** Each file, and what `validate` says; status 2 goes without saying. */
const REFUSED: readonly (readonly [file: string, says: RegExp])[] = [
  ["12/antrea.json", /resourceList\[0\]\.isRdma: .*it belongs in resourceList\[0\]\.selectors/],
  ["12/ethernet.json", /linkTypes\[0\]: found "ethernet", expected ether or infiniband; did you mean "ether"\?/],
  ["12/extra.json", /ifNames\[0\]: found "ens1f0,ens1f1".*one value an entry: \["ens1f0", "ens1f1"\]/],
  ["12/flat.json", /this is one entry without its list: put it into \{"configList"/],
  ["12/netop.json", /linkTypes\[0\]: found "IB", expected ether or infiniband; did you mean "infiniband"\?/],
  ["12/nosel.json", /configList\[0\]: selectors are missing/],
  ["12/ub.json", /configList\[0\]\.selectors\.buses: unknown key, ignored; known here: vendors/],
  ["12/wrongkey.json", /resourceList\[0\]\.rdmaHcaMax: .*write configList instead of resourceList/],
  ["9/own2.yaml", /expose\.devices\[1\]: found "\/dev\/hfi1_\*": .*not expanded; name each device, or write \{hca\}/],
];
for (const [file, says] of REFUSED) {
  Deno.test(`validate says of ${file} where and what`, async () => {
    const validate = startPlugin(["validate", path(file)]);
    equal((await validate.ended).code, 2);
    match(validate.log.join(" "), says);
  });
}

Deno.test("19: SIGTERM leaves the CDI spec of a resource whose device the kubelet's checkpoint gives to a container", async () => {
  using dir = temporaryDir();
  const host = buildHost(readPlan("19/host.json"), join(dir.path, "host"));
  const kubeletDir = join(dir.path, "device-plugins");
  const cdiDir = join(dir.path, "cdi");
  mkdirSync(kubeletDir);
  copyFileSync(path("19/kubelet_internal_checkpoint"), join(kubeletDir, "kubelet_internal_checkpoint"));
  const roots = ["--sysfs-root", host.sysfs, "--dev-root", host.dev, "--kubelet-dir", kubeletDir, "--events", "poll"];
  const start = (...flags: string[]) => startPlugin([...roots, "--cdi", "--cdi-dir", cdiDir, ...flags]);
  const held = start();
  await held.logged(/found 12 HCAs/);
  equal(existsSync(cdiDir), true);
  await held.stop();
  deepEqual(readdirSync(cdiDir), ["rdma-device-plugin_tencent.com_rdma.json"]);
  const other = start("--resource-name", "rdma/other");
  await other.logged(/found 12 HCAs/);
  await other.stop();
  deepEqual(readdirSync(cdiDir), ["rdma-device-plugin_tencent.com_rdma.json"], "and only that one");
});
