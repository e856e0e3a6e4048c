/**
 * The plugin on a real cluster: kubelet, API server, scheduler and containerd as they are released. The situations are in
 * the files beside this one.
 *
 * It takes minutes, root, Go and buildah, so it is run by its own task, `deno task test:cluster`.
 *
 * @module
 */
import { cpSync } from "node:fs";
import { join } from "node:path";
import process from "node:process";
import { Cluster } from "../support/cluster/cluster.ts";
import { DEFAULT_KUBERNETES, SUPPORTED_KUBERNETES, versionsFor } from "../support/cluster/versions.ts";
import { CLUSTER_NEEDS } from "../support/cluster/requirements.ts";
import { needs } from "../support/need.ts";
import { HOST } from "./host.ts";
import { printTable, type Row, type VersionResult, writeVersions } from "./report.ts";
import type { Situation } from "./situation.ts";
import { SITUATIONS } from "./situations.ts";
import { Stage } from "./stage.ts";

const asked = process.env.CLUSTER;
const logs = process.env.CLUSTER_LOGS;
const only = new RegExp(process.env.CLUSTER_ONLY ?? "");
if (!asked) process.stderr.write("skipping: a real cluster is started by `deno task test:cluster`\n");
/** The default version plays everything, the others what is core. */
const versions = asked === "all" ? SUPPORTED_KUBERNETES : asked ? [asked] : [];

const results: VersionResult[] = [];

for (const version of versions) {
  Deno.test({
    name: `the plugin on a cluster with the kubelet ${version}`,
    ...needs(...CLUSTER_NEEDS),
    // Connections of the API client are kept until it is closed.
    sanitizeOps: false,
    sanitizeResources: false,
    async fn(t) {
      const rows: Row[] = [];
      const report = (line: string) => void process.stderr.write(`${line}\n`);
      await using cluster = await Cluster.start({ versions: versionsFor(version), host: HOST, report });
      const stage = new Stage(cluster);
      for (const situation of played(version)) {
        const begun = performance.now();
        const passed = await t.step(situation.name, async () => {
          await stage.tidy();
          await situation.play(stage);
        });
        // A cluster on which nothing works any more would take minutes to say so.
        if (!passed && rows.at(-1)?.passed === false && rows.at(-2)?.passed === false) break;
        rows.push({ name: situation.name, passed, ms: performance.now() - begun });
      }
      // To look at after a failure; the cluster's directory goes with it.
      if (logs !== undefined) cpSync(join(cluster.dir, "logs"), join(logs, version), { recursive: true });
      const result = { version, rows, impossible: impossible(version) };
      printTable(result, report);
      results.push(result);
      if (asked === "all" && results.length === versions.length) writeVersions(results);
    },
  });
}

function played(version: string): readonly Situation[] {
  return SITUATIONS.filter(({ name }) => only.test(name))
    .filter(({ core = false, since = 0 }) => (core || version === DEFAULT_KUBERNETES) && minor(version) >= since);
}

function impossible(version: string): readonly string[] {
  return SITUATIONS.filter(({ core = false, since = 0 }) => core && minor(version) < since).map(({ name }) => name);
}

function minor(version: string): number {
  return Number(version.split(".")[1]);
}
