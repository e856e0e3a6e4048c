/**
 * What a machine must have to run a cluster.
 *
 * @module
 */
import type { Need } from "../need.ts";
import { missing } from "../need.ts";

/** Root, Go to build the programs with, and what the node's containers are made by. */
export const CLUSTER_NEEDS: readonly Need[] = ["root", "go", "netns", "buildah", "runc", "cni", "busybox"];

/** What this machine lacks, each with its remedy. */
export function missingForCluster(): readonly string[] {
  return CLUSTER_NEEDS.flatMap((need) => missing(need));
}
