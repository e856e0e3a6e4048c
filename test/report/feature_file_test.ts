import { deepEqual, equal, match, ok } from "@std/assert";
import { chmodSync, existsSync, mkdirSync, readdirSync, readFileSync, rmSync, statSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { FeatureFile, featureText } from "../../src/report/feature_file.ts";
import type { Log } from "../../src/text/log.ts";
import { SILENT } from "../../src/text/log.ts";
import { directory, ReportRig } from "../support/report_rig.ts";
import { temporaryDir } from "../support/temp.ts";

/** Features of a file as node-feature-discovery's worker reads them at that time (its `source/local`). */
function parsed(text: string, now: number): Readonly<Record<string, string>> {
  let expiry = Infinity;
  const found: Record<string, string> = {};
  for (const line of text.split("\n").map((one) => one.trim()).filter((one) => one !== "")) {
    if (line.startsWith("# +")) {
      const [, key, value] = /^# \+([a-z-]+)=(.*)$/.exec(line) ?? [];
      equal(key, "expiry-time");
      expiry = Date.parse(value!);
      ok(!Number.isNaN(expiry), line);
    } else if (!line.startsWith("#") && now < expiry) {
      const [key = "", value = "true"] = line.split("=");
      found[key] = value;
    }
  }
  return found;
}

Deno.test("the feature file has the labels, and says until when they hold", () => {
  const labels = { "rdma.tencent.com/hcas": "8", "rdma.tencent.com/transport.ib": "true" };
  const text = featureText(labels, Date.parse("2026-11-30T12:00:00Z"));
  deepEqual(parsed(text, Date.parse("2026-11-30T11:59:59Z")), labels);
  deepEqual(parsed(text, Date.parse("2026-11-30T12:00:01Z")), {});
  equal(featureText({}, 0).split("\n").filter((one) => one !== "" && !one.startsWith("#")).length, 0);
});

Deno.test("the file is replaced in one step, readable for all, and only when something changed", () => {
  using dir = temporaryDir();
  const file = new FeatureFile(dir.path, SILENT);
  const path = join(dir.path, "rdma-device-plugin");
  file.want({ "rdma.tencent.com/hcas": "1" });
  const first = statSync(path).ino;
  equal(statSync(path).mode & 0o777, 0o644);
  file.want({ "rdma.tencent.com/hcas": "1" });
  equal(statSync(path).ino, first);
  file.want({ "rdma.tencent.com/hcas": "2" });
  ok(statSync(path).ino !== first);
  deepEqual(readdirSync(dir.path), ["rdma-device-plugin"]);
  file.close();
  ok(existsSync(path), "a successor writes the same: the labels must not go for the time between");
});

Deno.test("a directory that cannot be written is one line in the log", () => {
  using dir = temporaryDir();
  const lines: string[] = [];
  const log: Log = { ...SILENT, warn: (line) => lines.push(line), info: (line) => lines.push(line) };
  // A file where the directory should be: as unwritable for root as for anyone.
  const place = join(dir.path, "features.d");
  writeFileSync(place, "");
  const file = new FeatureFile(place, log);
  file.want({ a: "1" });
  file.want({ a: "2" });
  equal(lines.length, 1);
  match(lines[0]!, /^Cannot write .*features\.d\/rdma-device-plugin: .*--nfd-features/);
  rmSync(place);
  mkdirSync(place);
  chmodSync(place, 0o755);
  file.want({ a: "3" });
  equal(lines.length, 2);
  file.close();
});

Deno.test("labels follow the machine, in the file without any API server and through the API", async () => {
  const features = temporaryDir();
  await using rig = await ReportRig.start({
    host: "connectx-roce-vfs",
    settings: { events: false, labels: true, featureDir: directory(features.path, "features.d") },
    before: (api) => {
      const old = {
        metadata: { name: "node-1", labels: { "rdma.tencent.com/old": "true", "kubernetes.io/os": "linux" } },
      };
      api.store.update("v1/nodes", "node-1", old);
    },
  });
  const read = () => parsed(readFileSync(join(features.path, "features.d/rdma-device-plugin"), "utf8"), Date.now());
  const labels = () => rig.node.metadata.labels ?? {};
  const active = Number(await rig.api.waitFor(() => labels()["rdma.tencent.com/ports-active"], "labels"));
  equal(labels()["rdma.tencent.com/old"], undefined);
  equal(labels()["kubernetes.io/os"], "linux");
  equal(read()["rdma.tencent.com/ports-active"], String(active));
  await rig.world.host.carrierLost("mlx5_0", 1);
  await rig.api.waitFor(() => labels()["rdma.tencent.com/ports-active"] === String(active - 1), "one less");
  deepEqual(read(), Object.fromEntries(Object.entries(labels()).filter(([key]) => key.startsWith("rdma."))));
  equal(rig.condition, undefined);
  features[Symbol.dispose]();
});
