/**
 * The shipped ways to deploy, as they are: the manifest, every overlay, the chart.
 *
 * @module
 */
import { deepEqual, equal } from "@std/assert";
import { spawnSync } from "node:child_process";
import { join } from "node:path";
import process from "node:process";
import { ROOT } from "../support/root.ts";
import { RESOURCE } from "./host.ts";
import { OVERLAYS } from "./overlays.ts";
import type { Situation } from "./situation.ts";

export const MANIFESTS: readonly Situation[] = [
  {
    name: "rdma-device-plugin.yml, as shipped, becomes Ready and its devices allocatable",
    core: true,
    async play(stage) {
      await stage.undeploy();
      stage.cluster.kubectl(["apply", "-f", join(ROOT, "rdma-device-plugin.yml")]);
      await stage.deployed();
      await stage.allocatable(RESOURCE, 4);
    },
  },
  ...Object.values(OVERLAYS),
  {
    name: "the chart: install, upgrade, rollback, and uninstall leaves nothing behind on the node",
    async play(stage) {
      await stage.undeploy();
      stage.removeSpecs();
      const helm = (...args: readonly string[]) => {
        const env = { ...process.env, KUBECONFIG: stage.cluster.kubeconfig };
        const all = [...args, "--namespace", "kube-system", "--wait", "--timeout=60s"];
        const { status, stderr } = spawnSync("helm", all, { cwd: ROOT, encoding: "utf8", env });
        equal(status, 0, `helm ${args.join(" ")}: ${stderr}`);
      };
      const chart = "deploy/helm/rdma-device-plugin";
      helm("install", "rdma-device-plugin", chart);
      await stage.allocatable(RESOURCE, 4);
      helm("upgrade", "rdma-device-plugin", chart, "--set", "resourceName=rdma/other", "--set", "cdi=true");
      await stage.allocatable("rdma/other", 4);
      helm("rollback", "rdma-device-plugin", "1");
      await stage.deployed();
      await stage.allocatable("rdma/other", 0);
      await stage.allocatable(RESOURCE, 4);
      helm("uninstall", "rdma-device-plugin");
      await stage.undeploy();
      deepEqual(stage.leftOnNode(), []);
    },
  },
];
