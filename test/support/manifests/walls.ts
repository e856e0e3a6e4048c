/**
 * What every way to deploy the plugin is held to: the pod security controls that it may break, and that Deno's permission
 * set covers what is mounted.
 *
 * @module
 */
import { permissions, type PermissionSet } from "../bundle.ts";
import { buildGo } from "../foreign.ts";
import { podOf } from "./files.ts";
import type { Manifest } from "./schemas.ts";
import { run } from "../run.ts";

/** What stands between the plugin and the level "restricted"; docs/security.md says why each is so. */
export const KNOWN_BREACHES = [
  "baseline hostPath volumes",
  "baseline seLinuxOptions",
  "restricted restricted volume types",
  "restricted runAsNonRoot != true",
  "restricted runAsUser=0",
];

/** What comes to that with hostNetwork. */
export const ON_THE_HOST = ["baseline host namespaces", "baseline probe or lifecycle host"];

const built: { program?: Promise<string> } = {};

/** Controls that the pod of a manifest breaks, as the API server's admission says; needs Go. */
export async function broken(manifest: Manifest): Promise<readonly string[]> {
  built.program ??= buildGo("podsecurity");
  const input = JSON.stringify({ spec: podOf(manifest) });
  return run(await built.program, [], { input }).split("\n").filter((line) => line !== "").toSorted();
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
