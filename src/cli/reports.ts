/**
 * From flags to reports to Kubernetes. Their modules are not loaded without one of the flags.
 *
 * @module
 */
import { hostname } from "node:os";
import { resolve } from "node:path";
import type { Reports } from "../report/open.ts";
import type { Log } from "../text/log.ts";
import { apiAccess, nodeName } from "./dra.ts";
import type { Values } from "./flags.ts";

/** What the flags ask for; null when they ask for nothing. */
export function reportsWanted(values: Values) {
  const features = values["nfd-features"];
  const events = values["kubernetes-events"];
  const labels = values["node-labels"];
  if (!events && !labels && features === undefined) return null;
  return {
    node: nodeName(values),
    events,
    labels,
    featureDir: features === undefined ? null : resolve(features),
    access: () => apiAccess(values),
  };
}

/** Null without a flag that asks for them. A plugin that cannot report serves pods all the same. */
export async function reportsOf(values: Values, log: Log): Promise<Reports | null> {
  const wanted = reportsWanted(values);
  if (wanted === null) return null;
  const { openReports } = await import("../report/open.ts");
  const settings = {
    ...wanted,
    instance: hostname(),
    kubeletDir: resolve(values["kubelet-dir"]),
    podResourcesSocket: resolve(values["pod-resources-socket"]),
    driver: values["dra-driver-name"],
  };
  try {
    return openReports(settings, log);
  } catch (error) {
    log.error(`Neither events nor a condition nor labels are written: ${(error as Error).message}`);
    return settings.featureDir === null ? null : openReports({ ...settings, events: false, labels: false }, log);
  }
}
