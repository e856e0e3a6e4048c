/**
 * `fleet` against the real API server, as a user who has the rights of deploy/fleet/cluster-role.yaml and no others.
 *
 * @module
 */
import { deepEqual, equal, match, ok } from "@std/assert";
import { spawnSync } from "node:child_process";
import { readFileSync, writeFileSync } from "node:fs";
import { delimiter, join } from "node:path";
import process from "node:process";
import { parse, stringify } from "yaml";
import { EVENTS_API } from "../../src/kubernetes/core_api.ts";
import { NODE_NAME } from "../support/cluster/config_files.ts";
import { ROOT } from "../support/root.ts";
import { EXCLUSIVE } from "./deployment.ts";
import { devices, runClaim, taintsOf, tidyClaims, useDra } from "./dra_stage.ts";
import { RESOURCE } from "./host.ts";
import type { Situation } from "./situation.ts";
import { allocatedHealth, type Stage } from "./stage.ts";

const OPERATOR = "fleet-operator";

interface FleetJson {
  readonly missing: readonly { readonly what: string; readonly reason: string }[];
  readonly nodes: readonly {
    readonly name: string;
    readonly state: string;
    readonly pods: readonly string[];
    readonly resources: readonly {
      readonly name: string;
      readonly api: string;
      readonly capacity: number;
      readonly allocatable: number;
      readonly used: number | null;
    }[];
    readonly plugins: readonly { readonly version: string; readonly ready: boolean }[];
    readonly problems: readonly {
      readonly hca: string | null;
      readonly reason: string;
      readonly since: string | null;
      readonly pods: readonly string[];
    }[];
  }[];
}

/** The administrator's kubeconfig, for someone else whom the server takes him for. */
function kubeconfig(stage: Stage, user: string): string {
  const config = parse(readFileSync(stage.cluster.kubeconfig, "utf8")) as {
    users: { user: Record<string, unknown> }[];
  };
  config.users[0]!.user.as = user;
  const path = join(stage.cluster.dir, `${user}.kubeconfig`);
  writeFileSync(path, stringify(config));
  return path;
}

/** Runs a command to its end, with the kubeconfig of that user. */
function run(stage: Stage, user: string, command: readonly string[], path = process.env.PATH!) {
  const { status, stdout, stderr } = spawnSync(command[0]!, command.slice(1), {
    cwd: ROOT,
    encoding: "utf8",
    env: { ...process.env, PATH: path, NO_COLOR: "1", KUBECONFIG: kubeconfig(stage, user) },
  });
  return { status, out: stdout, error: stderr };
}

function fleet(stage: Stage, user = OPERATOR): { status: number | null; found: FleetJson } {
  const deno = [process.execPath, "run", "-A", "--no-check", "--frozen", "mod.ts"];
  const { status, out, error } = run(stage, user, [...deno, "fleet", "--json"]);
  ok(out !== "", error);
  return { status, found: JSON.parse(out) as FleetJson };
}

function grant(stage: Stage): void {
  const { kubectl } = stage.cluster;
  kubectl.call(stage.cluster, ["apply", "-f", join(ROOT, "deploy/fleet/cluster-role.yaml")]);
  const binding = ["clusterrolebinding", "fleet", "--clusterrole=rdma-fleet-reader", `--user=${OPERATOR}`];
  const made = kubectl.call(stage.cluster, ["create", ...binding, "--dry-run=client", "-o", "yaml"]);
  kubectl.call(stage.cluster, ["apply", "-f", "-"], made);
}

/**
 * The kubelet counts the devices of a plugin that is gone as unhealthy for five minutes, and `fleet` says so. One that was
 * started without the file in which it keeps them knows of none, and what the node object had of them is removed by hand.
 */
async function forgetResources(stage: Stage): Promise<void> {
  const { node, space, api } = stage.cluster;
  await node.stopKubelet();
  space.run(["rm", "-f", "/var/lib/kubelet/device-plugins/kubelet_internal_checkpoint"]);
  const extended = Object.keys((await stage.node()).status.capacity ?? {}).filter((name) => name.includes("/"));
  const gone = Object.fromEntries(extended.map((name) => [name, null]));
  await api.patch(`/api/v1/nodes/${NODE_NAME}/status`, { status: { capacity: gone, allocatable: gone } });
  await node.startKubelet();
  await stage.cluster.nodeReady();
  await stage.probedAgain();
  // Plugins of earlier situations have reported, too, and some ended before they could say that all is well again.
  await api.delete(`/apis/${EVENTS_API}/namespaces/default/events`);
}

export const FLEET: readonly Situation[] = [
  {
    name: "fleet: a port goes down under a pod: a row with its reason and status 1; back, status 0",
    since: 36,
    async play(stage) {
      await stage.use(EXCLUSIVE);
      await forgetResources(stage);
      await stage.servedAgain();
      grant(stage);
      const pod = await stage.run({ limits: { [RESOURCE]: 1 } });
      const hca = stage.exec(pod, "echo $RDMA_HCAS");
      const health = (wanted: string) =>
        stage.untilPod(pod, (now) => now !== null && allocatedHealth(now, RESOURCE, hca) === wanted, wanted);
      await health("Healthy");
      const before = fleet(stage);
      equal(before.status, 0, JSON.stringify(before.found));
      deepEqual(before.found.missing, []);
      const [row] = before.found.nodes;
      deepEqual(row!.resources, [{ name: RESOURCE, api: "device-plugin", capacity: 4, allocatable: 4, used: 1 }]);
      deepEqual([row!.name, row!.pods, row!.plugins.map((one) => one.ready)], [NODE_NAME, [`default/${pod}`], [true]]);
      await stage.cluster.host.carrierLost(hca, 1);
      await health("Unhealthy");
      await stage.allocatable(RESOURCE, 3);
      const down = fleet(stage);
      equal(down.status, 1);
      deepEqual(down.found.nodes[0]!.problems.map((one) => [one.hca, one.pods]), [[hca, [`default/${pod}`]]]);
      await stage.cluster.host.portUp(hca, 1);
      await health("Healthy");
      await stage.allocatable(RESOURCE, 4);
      const after = fleet(stage);
      deepEqual([after.status, after.found.nodes[0]!.problems], [0, []]);
    },
  },
  {
    name: "fleet: a port goes down under a claim: which device, since when, and whose pod",
    since: 36,
    async play(stage) {
      await useDra(stage);
      await forgetResources(stage);
      grant(stage);
      const pod = await runClaim(stage, { cel: "rdma.rdmaDevice == 'mlx5_2'" });
      const before = fleet(stage);
      equal(before.status, 0, JSON.stringify(before.found));
      const used = before.found.nodes[0]!.resources.find((one) => one.api === "dra")!;
      deepEqual([used.capacity, used.allocatable, used.used], [4, 4, 1]);
      await stage.cluster.host.carrierLost("mlx5_2", 1);
      const tainted = await devices(stage, (all) => taintsOf(all, "mlx5_2").length > 0, "a taint");
      const down = fleet(stage);
      equal(down.status, 1);
      const [problem] = down.found.nodes[0]!.problems;
      deepEqual([problem!.hca, problem!.since, problem!.pods], [
        "mlx5_2",
        taintsOf(tainted, "mlx5_2")[0]!.timeAdded,
        [`default/${pod}`],
      ]);
      await stage.cluster.host.portUp("mlx5_2", 1);
      await devices(stage, (all) => taintsOf(all, "mlx5_2").length === 0, "no taint");
      equal(fleet(stage).status, 0);
      await tidyClaims(stage);
    },
  },
  {
    name: "fleet: without a right it shows the rest and says which right; as kubectl rdma it is the same program",
    async play(stage) {
      await stage.use(EXCLUSIVE);
      await forgetResources(stage);
      await stage.servedAgain();
      grant(stage);
      const path = [join(ROOT, "deploy"), join(process.execPath, ".."), process.env.PATH].join(delimiter);
      const kubectl = run(stage, OPERATOR, [stage.cluster.programs.kubectl, "rdma", "--nodes", NODE_NAME], path);
      equal(kubectl.status, 0, kubectl.error);
      match(kubectl.out, new RegExp(`^${NODE_NAME} +ok `, "m"));
      const nothing = run(stage, "no-one", [stage.cluster.programs.kubectl, "rdma"], path);
      equal(nothing.status, 2);
      match(nothing.error, /nodes is forbidden: User "no-one" cannot list resource "nodes"/);
      stage.cluster.kubectl(["create", "clusterrole", "nodes-only", "--verb=list", "--resource=nodes"]);
      stage.cluster.kubectl(["create", "clusterrolebinding", "nodes-only", "--clusterrole=nodes-only", "--user=some"]);
      const { status, found } = fleet(stage, "some");
      equal(status, 0);
      deepEqual(found.missing.map((one) => one.what), [
        "pods",
        "resourceslices.resource.k8s.io",
        "events.events.k8s.io",
      ]);
      equal(found.nodes[0]!.resources[0]!.used, null);
    },
  },
];
