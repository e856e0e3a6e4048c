/**
 * Which API server `fleet` asks, and as whom.
 *
 * @module
 */
import process from "node:process";
import { type ApiAccess, type CredentialSource } from "../kubernetes/access.ts";
import { kubeconfigAccess, kubeconfigFiles } from "../kubernetes/kubeconfig_access.ts";
import { KubeconfigError, type KubeconfigFile } from "../kubernetes/kubeconfig.ts";
import { apiAccess } from "./dra.ts";
import type { Values } from "./flags.ts";
import { UsageError } from "./machine.ts";

/**
 * The flags' server, the kubeconfig's, or that of the cluster whose pod this is, in this order.
 *
 * @throws {UsageError} when there is none, or a kubeconfig cannot be used
 */
export function fleetAccess(values: Values): ApiAccess | CredentialSource {
  const { kubeconfig, context } = values;
  try {
    if (values["kube-api"] !== undefined && kubeconfig === undefined) return apiAccess(values)!;
    const files = filesOf(kubeconfig);
    if (files.length > 0) return kubeconfigAccess(files, context ?? null);
  } catch (error) {
    if (error instanceof KubeconfigError) throw noKubeconfig(error.message);
    throw error;
  }
  const inCluster = apiAccess(values);
  if (inCluster !== null && context === undefined) return inCluster;
  throw noKubeconfig(
    "No kubeconfig: neither KUBECONFIG nor ~/.kube/config names a file that exists, and this is no pod of a cluster",
    "name one with --kubeconfig FILE",
  );
}

function noKubeconfig(message: string, hint: string | null = null): UsageError {
  return new UsageError([{ code: "no-kubeconfig", path: "--kubeconfig", message, hint }]);
}

/** None where Deno's permissions keep environment and home from this process, as in the image. */
function filesOf(explicit: string | undefined): readonly KubeconfigFile[] {
  try {
    return kubeconfigFiles(explicit, process.env);
  } catch (error) {
    if ((error as Error).name === "NotCapable") return [];
    throw error;
  }
}
