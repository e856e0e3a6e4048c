/**
 * CDI spec files on disk: written before any answer names them, replaced atomically, removed when their resource ends.
 *
 * @module
 */
import { mkdirSync, readdirSync, readFileSync, renameSync, rmSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { isAlive } from "./socket_file.ts";

/** What this room has to know of a CDI spec: the annotations that say who keeps the file. */
export interface AnnotatedSpec {
  readonly annotations: Readonly<Record<string, string>>;
}

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
  write(resource: string, spec: AnnotatedSpec): void {
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
        tryRemove(temporary);
        throw error;
      }
    } catch (error) {
      const { code, message } = error as Error & { code?: string };
      const fix = code === "ENOSPC" ? "Make room there" : "Mount the directory writable";
      throw new Error(
        `Cannot write the CDI spec ${path}: ${message.replace(/, (open|write|rename|mkdir)\b.*/, "")}; pods of ` +
          `${resource} would start without their adapter. ${fix}, or name another with --cdi-dir`,
        { cause: error },
      );
    }
    this.#written.set(resource, text);
  }

  /**
   * Removes the spec of a resource that ends.
   * @returns the file that could not be removed, or null
   */
  remove(resource: string): string | null {
    const path = this.#path(resource);
    return !this.#written.delete(resource) || tryRemove(path) ? null : path;
  }

  /** Removes all of this process's specs, at the end; gives those that could not be. */
  removeAll(): readonly string[] {
    return [...this.#written.keys()].map((resource) => this.remove(resource)).filter((path) => path !== null);
  }

  /**
   * Removes specs of earlier processes of this program whose socket nobody serves any more. Returns their names; one
   * that cannot be removed is left to the next start.
   */
  async removeStale(ours: ReadonlySet<string>): Promise<readonly string[]> {
    const removed: string[] = [];
    for (const name of namesIn(this.#dir)) {
      const path = join(this.#dir, name);
      const note = ownerOf(path);
      if (note === null || ours.has(note.resource) || await isAlive(note.socket)) continue;
      if (tryRemove(path)) removed.push(name);
    }
    return removed;
  }

  #path(resource: string): string {
    return join(this.#dir, `${PREFIX}${resource.replaceAll("_", "__").replaceAll("/", "_")}.json`);
  }
}

/** Removes a file; false when it cannot be, as on a file system that is read-only now. */
function tryRemove(path: string): boolean {
  try {
    rmSync(path, { force: true });
    return true;
  } catch {
    return false;
  }
}

function namesIn(dir: string): readonly string[] {
  try {
    return readdirSync(dir).filter((name) => name.startsWith(PREFIX) && name.endsWith(".json"));
  } catch {
    return []; // no directory, no stale files
  }
}

/** Who keeps a spec file, from the annotations that {@link AnnotatedSpec} carries; null for a file that does not say. */
function ownerOf(path: string): { resource: string; socket: string } | null {
  try {
    const { annotations } = JSON.parse(readFileSync(path, "utf8")) as Partial<AnnotatedSpec>;
    const resource = annotations?.["rdma-device-plugin/resource"];
    const socket = annotations?.["rdma-device-plugin/socket"];
    return typeof resource === "string" && typeof socket === "string" ? { resource, socket } : null;
  } catch {
    return null; // not ours to judge
  }
}
