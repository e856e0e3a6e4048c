/**
 * What every way to deploy the plugin is held to: the pod security controls that it may break, and that Deno's permission
 * set covers what is mounted.
 *
 * @module
 */
import { permissions, type PermissionSet } from "../bundle.ts";
import { podOf } from "./files.ts";
import type { Manifest } from "./schemas.ts";
import { breaches } from "./pod_security.ts";

/** What stands between the plugin and the level "restricted"; docs/security.md says why each is so. */
export const KNOWN_BREACHES = [
  "baseline HostPath Volumes",
  "baseline SELinux",
  "restricted Running as Non-root",
  "restricted Running as Non-root user",
];

/** Controls that the pod of a manifest breaks, each once, sorted. */
export function broken(manifest: Manifest): readonly string[] {
  return [...new Set(breaches(podOf(manifest)).map((one) => `${one.level} ${one.control}`))].toSorted();
}

/** Mounts that the permission set of the container does not cover; what it covers that nothing mounts is no fault. */
export function uncovered(manifest: Manifest): readonly string[] {
  return podOf(manifest).containers.flatMap(({ volumeMounts = [], command = [] }) => {
    const set = command.find((one) => one.startsWith("-P="))?.slice("-P=".length) ?? "image";
    const { read, write } = permissions()[set as PermissionSet] as { read: string[]; write: string[] };
    return volumeMounts.filter(({ mountPath, readOnly }) =>
      !read.includes(mountPath) || (readOnly !== true && !write.includes(mountPath))
    ).map((one) => one.mountPath);
  });
}
