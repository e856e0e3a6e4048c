/**
 * Settings of the DRA driver from the flags.
 *
 * @module
 */
import { hostname } from "node:os";
import { resolve } from "node:path";
import process from "node:process";
import type { DraSettings } from "../dra/open.ts";
import { type ApiAccess, inClusterServer } from "../kubernetes/access.ts";
import type { Values } from "./flags.ts";
import { registryDir } from "./machine.ts";

export function draSettings(values: Values): DraSettings {
  return {
    driver: values["dra-driver-name"],
    node: nodeName(values),
    pluginsDir: resolve(values["plugins-dir"]),
    registryDir: registryDir(values),
    cdiDir: resolve(values["cdi-dir"]),
    podUid: values["pod-uid"] ?? "",
    podResourcesSocket: resolve(values["pod-resources-socket"]),
    sysfsRoot: resolve(values["sysfs-root"]),
    access: () => apiAccess(values),
  };
}

/** Null outside a cluster, unless an API server is given by a flag. */
export function apiAccess(values: Values): ApiAccess | null {
  const server = values["kube-api"] ?? inClusterServer(process.env);
  if (server === null) return null;
  return { server, caFile: resolve(values["kube-ca-file"]), tokenFile: resolve(values["kube-token-file"]) };
}

export function nodeName(values: Values): string {
  return values["node-name"] ?? process.env.NODE_NAME ?? hostname();
}
