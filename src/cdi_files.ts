/**
 * CDI spec files on disk: written before any answer names them, replaced atomically, removed when their resource ends.
 *
 * @module
 */
import { mkdirSync, readdirSync, readFileSync, renameSync, rmSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { isAlive } from "./kubelet/socket_file.ts";
import { type CdiSpec } from "./resource/cdi.ts";

/** Where runtimes look for specs that do not outlive a boot. */
export const DEFAULT_CDI_DIR = "/var/run/cdi";

const PREFIX = "rdma-device-plugin_";

/** The files of this process in one directory. */
export class CdiFiles {
  readonly #dir: string;
  readonly #written = new Map<string, string>();

  constructor(dir: string) {
    this.#dir = dir;
  }

  /**
   * Writes the resource's spec unless it is there in these words already.
   * @throws when the directory cannot be written to; Allocate must then not answer with names
   */
  write(resource: string, spec: CdiSpec): void {
    const text = `${JSON.stringify(spec, null, 2)}\n`;
    const path = this.#path(resource);
    if (this.#written.get(resource) === text) return;
    try {
      mkdirSync(this.#dir, { recursive: true });
      // Runtimes read every *.json and *.yaml in the directory, so a half-written file must have another name.
      const temporary = join(this.#dir, `.${PREFIX}${Math.random().toString(36).slice(2)}.tmp`);
      try {
        writeFileSync(temporary, text, { mode: 0o644 });
        renameSync(temporary, path);
      } catch (error) {
        rmSync(temporary, { force: true });
        throw error;
      }
    } catch (error) {
      throw new Error(
        `Cannot write the CDI spec ${path}: ${
          (error as Error).message
        }; pods of ${resource} would start without their ` +
          "adapter. Mount the directory writable, or name another with --cdi-dir",
        { cause: error },
      );
    }
    this.#written.set(resource, text);
  }

  /** Removes the spec of a resource that ends. */
  remove(resource: string): void {
    if (this.#written.delete(resource)) rmSync(this.#path(resource), { force: true });
  }

  /** Removes all of this process's specs; at the end. */
  removeAll(): void {
    for (const resource of [...this.#written.keys()]) this.remove(resource);
  }

  /** Removes specs of earlier processes of this program whose socket nobody serves any more. Returns their names. */
  async removeStale(ours: ReadonlySet<string>): Promise<readonly string[]> {
    const removed: string[] = [];
    for (const name of namesIn(this.#dir)) {
      const path = join(this.#dir, name);
      const note = ownerOf(path);
      if (note === null || ours.has(note.resource) || await isAlive(note.socket)) continue;
      rmSync(path, { force: true });
      removed.push(name);
    }
    return removed;
  }

  #path(resource: string): string {
    return join(this.#dir, `${PREFIX}${resource.replaceAll("_", "__").replaceAll("/", "_")}.json`);
  }
}

function namesIn(dir: string): readonly string[] {
  try {
    return readdirSync(dir).filter((name) => name.startsWith(PREFIX) && name.endsWith(".json"));
  } catch {
    return []; // no directory, no stale files
  }
}

/** Who keeps a spec file, from the annotations that {@link CdiSpec} carries; null for a file that does not say. */
function ownerOf(path: string): { resource: string; socket: string } | null {
  try {
    const { annotations } = JSON.parse(readFileSync(path, "utf8")) as Partial<CdiSpec>;
    const resource = annotations?.["rdma-device-plugin/resource"];
    const socket = annotations?.["rdma-device-plugin/socket"];
    return typeof resource === "string" && typeof socket === "string" ? { resource, socket } : null;
  } catch {
    return null; // not ours to judge
  }
}
