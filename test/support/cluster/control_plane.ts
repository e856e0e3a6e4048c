/**
 * The control plane: etcd, API server, scheduler and controller manager.
 *
 * @module
 */
import { existsSync } from "node:fs";
import { setTimeout as delay } from "node:timers/promises";
import { configPaths } from "./config_files.ts";
import type { Programs } from "./programs.ts";
import { type Space, tail } from "./space.ts";

/** What can be turned on beyond a release's defaults. */
export interface Features {
  /** Given to every program, kubelet included. */
  readonly featureGates: Readonly<Record<string, boolean>>;
  /** API groups and versions, as --runtime-config takes them: "resource.k8s.io/v1beta2=true". */
  readonly apiGroups: readonly string[];
}

/** Starts the four; none is waited for. Returns once they run. */
export async function startControlPlane(space: Space, programs: Programs, features: Features): Promise<void> {
  const paths = configPaths(space.dir);
  const gates = Object.entries(features.featureGates).map(([name, on]) => `${name}=${on}`).join(",");
  const gateFlag = gates === "" ? [] : [`--feature-gates=${gates}`];
  await space.start("etcd", [
    programs.etcd,
    "--data-dir=/var/lib/etcd",
    // Its disk is memory, and gone with it.
    "--unsafe-no-fsync",
    "--log-level=warn",
  ]);
  await space.start("apiserver", [
    programs.apiserver,
    "--etcd-servers=http://127.0.0.1:2379",
    "--secure-port=6443",
    `--advertise-address=${space.place.address}`,
    "--endpoint-reconciler-type=none",
    `--cert-dir=${paths.pki}`,
    `--token-auth-file=${paths.tokens}`,
    "--authorization-mode=Node,RBAC",
    "--enable-admission-plugins=NodeRestriction",
    "--allow-privileged=true",
    // The node's name does not resolve.
    "--kubelet-preferred-address-types=InternalIP",
    "--service-cluster-ip-range=10.215.0.0/24",
    "--service-account-issuer=https://kubernetes.default.svc",
    `--service-account-key-file=${paths.serviceAccountKey}`,
    `--service-account-signing-key-file=${paths.serviceAccountKey}`,
    ...features.apiGroups.length === 0 ? [] : [`--runtime-config=${features.apiGroups.join(",")}`],
    ...gateFlag,
  ]);
  const common = [
    `--kubeconfig=${paths.adminKubeconfig}`,
    "--leader-elect=false",
    "--bind-address=127.0.0.1",
    ...gateFlag,
  ];
  // Both ask until the server answers, but need its certificate to begin.
  await certificate(space, paths.ca);
  await space.start("scheduler", [programs.scheduler, ...common]);
  await space.start("controller-manager", [
    programs.controllerManager,
    `--service-account-private-key-file=${paths.serviceAccountKey}`,
    `--root-ca-file=${paths.ca}`,
    ...common,
  ]);
}

async function certificate(space: Space, path: string): Promise<void> {
  for (let i = 0; i < 1_500; i++) {
    if (existsSync(path)) return;
    await delay(20);
  }
  throw new Error(`The API server makes no certificate: ${tail(space.dir, "apiserver")}`);
}
