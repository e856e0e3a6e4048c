/**
 * Which versions of which programs the cluster is made of, and where they are kept.
 *
 * @module
 */
import { homedir } from "node:os";
import { join } from "node:path";
import process from "node:process";

/** The versions of one cluster. The kubelet may be older than the API server, never newer. */
export interface Versions {
  readonly kubelet: string;
  readonly controlPlane: string;
}

export const DEFAULT_KUBERNETES = "1.36.3";
/** Every version that docs/install.md speaks of, oldest first; `deno task test:cluster --all` runs them. */
export const SUPPORTED_KUBERNETES = ["1.34.4", DEFAULT_KUBERNETES, "1.37.2"] as const;
export const ETCD = "3.6.13";
export const CONTAINERD = "2.2.9";

/**
 * A kubelet of this version and a control plane that it may be joined to.
 *
 * An older kubelet is joined to the default control plane, as in the middle of an upgrade; a newer one needs its own.
 */
export function versionsFor(kubelet: string): Versions {
  return { kubelet, controlPlane: minor(kubelet) > minor(DEFAULT_KUBERNETES) ? kubelet : DEFAULT_KUBERNETES };
}

/** The directory that outlives a run: programs by version, and images by what they were made of. */
export function cacheDir(): string {
  return join(process.env.XDG_CACHE_HOME || join(homedir(), ".cache"), "rdma-device-plugin", "cluster");
}

function minor(version: string): number {
  return Number(version.split(".")[1]);
}
