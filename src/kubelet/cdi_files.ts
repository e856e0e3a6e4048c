/**
 * CDI spec files on disk: written before any answer names them, replaced atomically, and recognised when somebody else
 * deletes or replaces one.
 *
 * @module
 */
import { lstatSync, mkdirSync, readdirSync, readFileSync, renameSync, rmSync, writeFileSync } from "node:fs";
import { join } from "node:path";

/** What this room has to know of a CDI spec: the annotations that say who keeps the file. */
export interface AnnotatedSpec {
  readonly annotations: Readonly<Record<string, string>>;
}

const PREFIX = "rdma-device-plugin_";

/** A file as this process wrote it. */
interface Written {
  readonly text: string;
  /** Tells the file from one of the same name that somebody else put there. */
  readonly mark: string | null;
}

/** A spec that another process of this program put into the directory, this one's predecessor for instance. */
export interface OtherSpec {
  /** File name. */
  readonly name: string;
  readonly resource: string;
  /** Where its plugin serves, while it lives. */
  readonly socket: string;
}

/** The files of this process in one directory. */
export class CdiFiles {
  readonly #dir: string;
  readonly #written = new Map<string, Written>();

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
    if (this.#written.get(resource)?.text === text && this.isInPlace(resource)) return;
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
    this.#written.set(resource, { text, mark: markOf(path) });
  }

  /** Whether the file that this process wrote is still there, and no other in its place. */
  isInPlace(resource: string): boolean {
    const mark = this.#written.get(resource)?.mark ?? null;
    return mark !== null && mark === markOf(this.#path(resource));
  }

  /** Whether this process keeps a file for the resource. */
  has(resource: string): boolean {
    return this.#written.has(resource);
  }

  /** The spec on disk, whoever wrote it; null when there is none that is this program's. */
  read(resource: string): AnnotatedSpec | null {
    const spec = specAt(this.#path(resource));
    return spec !== null && spec.annotations["rdma-device-plugin/resource"] === resource ? spec : null;
  }

  /**
   * Removes the resource's file, unless another process has put its own there since.
   * @returns the file that could not be removed, or null
   */
  remove(resource: string): string | null {
    const path = this.#path(resource);
    const ours = this.isInPlace(resource);
    this.#written.delete(resource);
    return !ours || tryRemove(path) ? null : path;
  }

  /** Leaves the resource's file where it is; gives its path. */
  leave(resource: string): string {
    this.#written.delete(resource);
    return this.#path(resource);
  }

  /** Resources that this process keeps files for. */
  get resources(): readonly string[] {
    return [...this.#written.keys()];
  }

  /** Specs of this program in the directory that this process did not write. */
  others(): readonly OtherSpec[] {
    return namesIn(this.#dir).flatMap((name) => {
      const annotations = specAt(join(this.#dir, name))?.annotations;
      const resource = annotations?.["rdma-device-plugin/resource"];
      const socket = annotations?.["rdma-device-plugin/socket"];
      if (typeof resource !== "string" || typeof socket !== "string") return []; // not ours to judge
      return this.#written.has(resource) ? [] : [{ name, resource, socket }];
    });
  }

  /** Removes a file of {@link others}; false when it cannot be, and the next start tries again. */
  removeOther({ name }: OtherSpec): boolean {
    return tryRemove(join(this.#dir, name));
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

/** A rename gives the new file's inode; the time tells that somebody wrote into it. */
function markOf(path: string): string | null {
  try {
    const { ino, mtimeMs, size } = lstatSync(path);
    return `${ino}:${mtimeMs}:${size}`;
  } catch {
    return null;
  }
}

function namesIn(dir: string): readonly string[] {
  try {
    return readdirSync(dir).filter((name) => name.startsWith(PREFIX) && name.endsWith(".json"));
  } catch {
    return []; // no directory, no files
  }
}

/** A file as far as it says whose it is; null for anything else. */
function specAt(path: string): AnnotatedSpec | null {
  try {
    const spec = JSON.parse(readFileSync(path, "utf8")) as Partial<AnnotatedSpec> | null;
    return typeof spec?.annotations === "object" && spec.annotations !== null ? spec as AnnotatedSpec : null;
  } catch {
    return null;
  }
}
