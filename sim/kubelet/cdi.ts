/**
 * What a container runtime does with the kubelet's answer: adds the plugin's device nodes, mounts and variables, and
 * those of the Container Device Interface spec files for each CDI name.
 *
 * @module
 */
import { existsSync, readdirSync, readFileSync } from "node:fs";
import { join } from "node:path";
import { z } from "zod";
import type { ContainerAllocateResponse } from "../../src/kubelet/api.ts";

/** A device node inside the container. */
export interface ContainerDevice {
  readonly containerPath: string;
  readonly hostPath: string;
  /** Some of "r", "w", "m"; "rwm" when a CDI spec has none. */
  readonly permissions: string;
}

export interface ContainerMount {
  readonly containerPath: string;
  readonly hostPath: string;
  readonly readOnly: boolean;
}

/** Everything that a container gets for its devices. */
export interface ContainerView {
  readonly devices: readonly ContainerDevice[];
  readonly mounts: readonly ContainerMount[];
  readonly envs: Readonly<Record<string, string>>;
  readonly annotations: Readonly<Record<string, string>>;
}

const EDITS = z.object({
  env: z.array(z.string()).optional(),
  deviceNodes: z.array(z.object({
    path: z.string(),
    hostPath: z.string().optional(),
    permissions: z.string().optional(),
  })).optional(),
  mounts: z.array(z.object({
    hostPath: z.string(),
    containerPath: z.string(),
    options: z.array(z.string()).optional(),
  })).optional(),
});
type Edits = z.infer<typeof EDITS>;

const SPEC = z.object({
  cdiVersion: z.string(),
  kind: z.string().regex(/^[A-Za-z0-9.-]+\/[A-Za-z0-9_.-]+$/, "a CDI kind is vendor/class"),
  containerEdits: EDITS.optional(),
  devices: z.array(z.object({ name: z.string(), containerEdits: EDITS })),
});
type Spec = z.infer<typeof SPEC>;

interface SpecFile {
  readonly path: string;
  readonly spec: Spec;
}

/** What the plugin's answer alone adds to the container. */
export function viewOf(response: ContainerAllocateResponse): ContainerView {
  return {
    devices: (response.devices ?? []).map((device) => ({
      containerPath: device.container_path ?? "",
      hostPath: device.host_path ?? "",
      permissions: device.permissions ?? "",
    })),
    mounts: (response.mounts ?? []).map((mount) => ({
      containerPath: mount.container_path ?? "",
      hostPath: mount.host_path ?? "",
      readOnly: mount.read_only ?? false,
    })),
    envs: response.envs ?? {},
    annotations: response.annotations ?? {},
  };
}

/**
 * Adds the edits for `names` from the spec files in `dirs` (JSON; later directories override earlier ones).
 *
 * @throws Error when a runtime would fail to create the container: for a name without spec, a name defined twice in one
 * directory, or an unreadable spec.
 */
export function injectCdi(view: ContainerView, names: readonly string[], dirs: readonly string[]): ContainerView {
  if (names.length === 0) return view;
  const byDir = dirs.map(specsIn).reverse();
  const edits: Edits[] = [];
  const opened = new Set<SpecFile>();
  for (const name of names) {
    const { file, device } = resolve(name, byDir, dirs);
    // Edits of the whole spec are applied once, regardless of the number of its devices.
    if (!opened.has(file) && file.spec.containerEdits !== undefined) edits.push(file.spec.containerEdits);
    opened.add(file);
    edits.push(device);
  }
  return edits.reduce(apply, view);
}

function resolve(
  name: string,
  byDir: readonly (readonly SpecFile[])[],
  dirs: readonly string[],
): { file: SpecFile; device: Edits } {
  const [kind, device] = name.split("=");
  for (const files of byDir) {
    const found = files.flatMap((file) => {
      const entry = file.spec.kind === kind ? file.spec.devices.find((each) => each.name === device) : undefined;
      return entry === undefined ? [] : [{ file, device: entry.containerEdits }];
    });
    if (found.length > 1) {
      throw new Error(`CDI device ${name} is defined twice: ${found.map(({ file }) => file.path).join(", ")}`);
    }
    if (found[0] !== undefined) return found[0];
  }
  throw new Error(`CDI device ${name} cannot be resolved: no spec in ${dirs.join(", ") || "any directory"} has it`);
}

function specsIn(dir: string): readonly SpecFile[] {
  // A missing directory has no specs, as for every runtime: /etc/cdi and /var/run/cdi rarely both exist.
  if (!existsSync(dir)) return [];
  const names = readdirSync(dir).filter((name) => name.endsWith(".json")).sort();
  return names.flatMap((name) => {
    const path = join(dir, name);
    try {
      return [{ path, spec: SPEC.parse(JSON.parse(readFileSync(path, "utf8"))) }];
    } catch (cause) {
      // Another pod's claim ended since the directory was listed.
      if ((cause as NodeJS.ErrnoException).code === "ENOENT") return [];
      throw new Error(`CDI spec ${path} cannot be read: ${cause instanceof Error ? cause.message : cause}`, { cause });
    }
  });
}

function apply(view: ContainerView, edits: Edits): ContainerView {
  const devices = (edits.deviceNodes ?? []).map((node) => ({
    containerPath: node.path,
    hostPath: node.hostPath ?? node.path,
    permissions: node.permissions ?? "rwm",
  }));
  const mounts = (edits.mounts ?? []).map((mount) => ({
    containerPath: mount.containerPath,
    hostPath: mount.hostPath,
    readOnly: (mount.options ?? []).includes("ro"),
  }));
  const envs = (edits.env ?? []).map((pair): [string, string] => {
    const at = pair.indexOf("=");
    return at < 0 ? [pair, ""] : [pair.slice(0, at), pair.slice(at + 1)];
  });
  return {
    ...view,
    devices: [...view.devices, ...devices],
    mounts: [...view.mounts, ...mounts],
    envs: { ...view.envs, ...Object.fromEntries(envs) },
  };
}
