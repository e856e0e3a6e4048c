/** The configuration files of row 12 and 9, and the CDI specs of row 19 through the program itself. */
import { deepEqual, equal } from "@std/assert";
import { copyFileSync, existsSync, mkdirSync, readdirSync } from "node:fs";
import { join } from "node:path";
import { startPlugin } from "../../sim/mod.ts";
import { loadConfig } from "../../src/config/mod.ts";
import { codesOf } from "../support/codes.ts";
import { memoryDir } from "../support/temp.ts";
import { buildHost, readPlan } from "./build.ts";
import { path } from "./node.ts";

/** Each file, and path and code of all that is said about it. */
const REFUSED: readonly (readonly [file: string, ...said: string[]])[] = [
  ["12/antrea.json", "resourceList nothing-left", "resourceList[0].isRdma unknown-key"],
  ["12/ethernet.json", "configList[0].selectors.linkTypes[0] unknown-value"],
  [
    "12/extra.json",
    "configList[0].selectors.ifNames[0] invalid-format",
    "configList[0].selectors.isRdma unknown-key",
  ],
  ["12/flat.json", "resourceName not-a-config"],
  ["12/netop.json", "resourceList[0].selectors.linkTypes[0] unknown-value"],
  ["12/nosel.json", "configList[0] missing"],
  [
    "12/ub.json",
    "faultDetectPeriod unknown-key",
    "configList[0].resourceName invalid-format",
    "configList[0].selectors.buses unknown-key",
  ],
  ["12/wrongkey.json", "resourceList nothing-left", "resourceList[0].rdmaHcaMax unknown-key"],
  ["9/own2.yaml", "resources[0].expose.devices[1] invalid-format"],
];
Deno.test("the files are refused with where and what", async () => {
  for (const [file, ...said] of REFUSED) {
    const result = await loadConfig(path(file));
    equal(result.ok, false, file);
    deepEqual(codesOf(result), said, file);
  }
});

Deno.test("19: SIGTERM leaves the CDI spec of a resource whose device the kubelet's checkpoint gives to a container", async () => {
  using dir = memoryDir();
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
