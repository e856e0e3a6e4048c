/**
 * The kubelet is recorded at a plugin's socket; the sim is held against that recording (test/sim/recording_test.ts).
 *
 * @module
 */
import { deepEqual } from "@std/assert";
import { readFileSync, writeFileSync } from "node:fs";
import process from "node:process";
import { fileURLToPath } from "node:url";
import type { RecordedKubelet } from "../support/recording/recorder.ts";
import { comparable, record, type Recording } from "../support/recording/situations.ts";
import type { Situation } from "./situation.ts";
import type { Stage } from "./stage.ts";

const FILE = fileURLToPath(new URL("../sim/recordings/kubelet.json", import.meta.url));

export const RECORDING: readonly Situation[] = [
  {
    name: "the kubelet does to a plugin's socket what it was recorded doing",
    async play(stage) {
      await stage.undeploy();
      const real = await record((resource) => realKubelet(stage, resource));
      if (process.env.CLUSTER_RECORD === "1") writeFileSync(FILE, `${JSON.stringify(real, null, 2)}\n`);
      const kept = JSON.parse(readFileSync(FILE, "utf8")) as Recording;
      const all = (recording: Recording) =>
        Object.fromEntries(Object.entries(recording).map(([name, events]) => [name, comparable(events)]));
      deepEqual(all(real), all(kept), "the kubelet has changed: look why, then deno task test:cluster --record");
    },
  },
];

function realKubelet(stage: Stage, resource: string): RecordedKubelet {
  const { space, node } = stage.cluster;
  return {
    pluginDir: space.path("/var/lib/kubelet/device-plugins"),
    registryDir: space.path("/var/lib/kubelet/plugins_registry"),
    resource,
    offers: (name, count) => stage.allocatable(name, count),
    async admit(_pod, name, counts) {
      await stage.run(...counts.map((count) => ({ limits: { [name]: count } })));
    },
    stop: (how) => node.stopKubelet(how === "ends" ? "SIGTERM" : "SIGKILL"),
    async start() {
      await node.startKubelet();
      await stage.cluster.nodeReady();
    },
  };
}
