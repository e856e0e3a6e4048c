/**
 * The control plane: etcd, API server, scheduler and controller manager.
 *
 * @module
 */
import { existsSync } from "node:fs";
import { eventually } from "../eventually.ts";
import { configPaths, SERVICES } from "./config_files.ts";
import type { Programs } from "./programs.ts";
import { type Daemon, type Space, tail } from "./space.ts";

/** What can be turned on beyond a release's defaults. */
export interface Features {
  /** Given to every program, kubelet included. */
  readonly featureGates: Readonly<Record<string, boolean>>;
  /** API groups and versions, as --runtime-config takes them: "resource.k8s.io/v1beta2=true". */
  readonly apiGroups: readonly string[];
}

/** Ends the API server and starts it again, alone of the four. */
export class ApiServer {
  #daemon: Daemon | null = null;

  constructor(readonly space: Space, readonly programs: Programs, readonly features: Features) {}

  /** @param featureGates over the cluster's own */
  async start(featureGates: Features["featureGates"] = {}): Promise<void> {
    const { space, programs, features } = this;
    const paths = configPaths(space.dir);
    this.#daemon = await space.start("apiserver", [
      programs.apiserver,
      "--etcd-servers=http://127.0.0.1:2379",
      // The port of its service, too: pods reach it by the address that every pod is told.
      "--secure-port=443",
      `--advertise-address=${space.place.address}`,
      "--endpoint-reconciler-type=none",
      `--cert-dir=${paths.pki}`,
      `--token-auth-file=${paths.tokens}`,
      "--authorization-mode=Node,RBAC",
      "--enable-admission-plugins=NodeRestriction",
      "--allow-privileged=true",
      // The node's name does not resolve.
      "--kubelet-preferred-address-types=InternalIP",
      `--service-cluster-ip-range=${SERVICES.network}`,
      "--service-account-issuer=https://kubernetes.default.svc",
      `--service-account-key-file=${paths.serviceAccountKey}`,
      `--service-account-signing-key-file=${paths.serviceAccountKey}`,
      ...features.apiGroups.length === 0 ? [] : [`--runtime-config=${features.apiGroups.join(",")}`],
      ...gateFlag({ ...features.featureGates, ...featureGates }),
    ]);
  }

  /** It stands still, with its connections open, or goes on. */
  freeze(frozen: boolean): void {
    this.#daemon?.kill(frozen ? "SIGSTOP" : "SIGCONT");
  }

  /** As when its machine is lost. */
  async stop(): Promise<void> {
    this.#daemon?.kill("SIGKILL");
    await this.#daemon?.ended;
    this.#daemon = null;
  }
}

/** Starts the four; none is waited for. Returns once they run. */
export async function startControlPlane(space: Space, programs: Programs, features: Features): Promise<ApiServer> {
  const paths = configPaths(space.dir);
  await space.start("etcd", [
    programs.etcd,
    "--data-dir=/var/lib/etcd",
    // Its disk is memory, and gone with it.
    "--unsafe-no-fsync",
    "--log-level=warn",
  ]);
  const server = new ApiServer(space, programs, features);
  await server.start();
  const common = [
    `--kubeconfig=${paths.adminKubeconfig}`,
    "--leader-elect=false",
    "--bind-address=127.0.0.1",
    ...gateFlag(features.featureGates),
  ];
  // Both ask until the server answers, but need its certificate to begin.
  await eventually(() => existsSync(paths.ca), () => `the API server's certificate: ${tail(space.dir, "apiserver")}`);
  await space.start("scheduler", [programs.scheduler, ...common]);
  await space.start("controller-manager", [
    programs.controllerManager,
    `--service-account-private-key-file=${paths.serviceAccountKey}`,
    `--root-ca-file=${paths.ca}`,
    ...common,
  ]);
  return server;
}

function gateFlag(featureGates: Features["featureGates"]): readonly string[] {
  const gates = Object.entries(featureGates).map(([name, on]) => `${name}=${on}`).join(",");
  return gates === "" ? [] : [`--feature-gates=${gates}`];
}
