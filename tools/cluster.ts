/**
 * `deno task cluster up|down|status`: a real Kubernetes cluster of one node on this machine, for people. Its adapters are
 * fake, its device nodes are real, and the plugin in it is the DaemonSet that this repository ships.
 *
 * Nothing of it is outside its directory and its namespaces; `down` leaves nothing behind.
 *
 * @module
 */
import { mkdirSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import process from "node:process";
import { fileURLToPath } from "node:url";
import { parseArgs } from "@std/cli";
import { preset, type PresetName, PRESETS } from "../sim/mod.ts";
import { Cluster, findCluster, removeCluster } from "../test/support/cluster/cluster.ts";
import { configPaths } from "../test/support/cluster/config_files.ts";
import { missingForCluster } from "../test/support/cluster/requirements.ts";
import { DEFAULT_KUBERNETES, versionsFor } from "../test/support/cluster/versions.ts";

const DIR = join(tmpdir(), "rdma-device-plugin-cluster");
const MANIFEST = fileURLToPath(new URL("../rdma-device-plugin.yml", import.meta.url));
const USAGE =
  `deno task cluster up      start a cluster of one node with the plugin in it (root; the first time builds it)
    --kubernetes VERSION  ${DEFAULT_KUBERNETES} by default
    --host PRESET         the node's adapters, as the sim has them: connectx-roce-vfs by default
    --gate NAME=BOOL      a feature gate for every program; may be repeated
    --api GROUP=BOOL      an API group for the server, as --runtime-config takes it; may be repeated
deno task cluster status  whether it runs, and what the node offers
deno task cluster down    end it and remove all of it
`;

const say = (line: string) => void process.stdout.write(`${line}\n`);

async function up(options: UpOptions): Promise<number> {
  const missing = missingForCluster();
  if (missing.length > 0) {
    process.stderr.write(`Cannot start a cluster: ${missing.join("; ")}\n`);
    return 1;
  }
  if (findCluster(DIR)?.isUp) {
    say(`It runs already: export KUBECONFIG=${configPaths(DIR).adminKubeconfig}`);
    return 0;
  }
  await removeCluster(DIR);
  mkdirSync(DIR, { recursive: true });
  const cluster = await Cluster.start({
    versions: versionsFor(options.kubernetes),
    host: preset(options.host),
    featureGates: Object.fromEntries(options.gate.map((one) => [one.split("=")[0]!, !one.endsWith("=false")])),
    apiGroups: options.api,
    dir: DIR,
    outlives: true,
    report: say,
  });
  cluster.kubectl(["apply", "-f", MANIFEST]);
  cluster.kubectl(["-n", "kube-system", "rollout", "status", "daemonset/rdma-device-plugin", "--timeout=60s"]);
  say("the plugin is Ready\n");
  status();
  say(
    `\nThe node's adapters are files: change ${cluster.host.sysfsRoot}/class/infiniband/*/ports/1/state, for example.`,
  );
  say(`export KUBECONFIG=${cluster.kubeconfig} PATH=${join(cluster.programs.kubectl, "..")}:$PATH`);
  cluster.leave();
  return 0;
}

function status(): number {
  const found = findCluster(DIR);
  if (!found?.isUp) {
    say("No cluster runs. Start one with: deno task cluster up");
    return 1;
  }
  say(`Kubernetes ${found.versions.kubelet}, node ${found.place.address}, everything in ${DIR}`);
  say(`KUBECONFIG=${configPaths(DIR).adminKubeconfig}`);
  const columns =
    "NODE:.metadata.name,RDMA:.status.allocatable.tencent\\.com/rdma,KUBELET:.status.nodeInfo.kubeletVersion";
  say(Cluster.kubectlOf(DIR, found, ["get", "nodes", "-o", `custom-columns=${columns}`]).trimEnd());
  say(Cluster.kubectlOf(DIR, found, ["get", "pods", "-A"]).trimEnd());
  return 0;
}

interface UpOptions {
  readonly kubernetes: string;
  readonly host: PresetName;
  readonly gate: readonly string[];
  readonly api: readonly string[];
}

async function main(): Promise<number> {
  const { values, positionals } = parseArgs({
    allowPositionals: true,
    options: {
      kubernetes: { type: "string", default: DEFAULT_KUBERNETES },
      host: { type: "string", default: "connectx-roce-vfs" },
      gate: { type: "string", multiple: true, default: [] },
      api: { type: "string", multiple: true, default: [] },
    },
  });
  switch (positionals[0]) {
    case "up":
      if (!(values.host in PRESETS)) {
        process.stderr.write(`--host is ${values.host}, but takes one of ${Object.keys(PRESETS).join(", ")}\n`);
        return 2;
      }
      return await up({ ...values, host: values.host as PresetName });
    case "status":
      return status();
    case "down":
      await removeCluster(DIR);
      return 0;
    default:
      process.stderr.write(USAGE);
      return 2;
  }
}

if (import.meta.main) process.exit(await main());
