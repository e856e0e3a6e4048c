/**
 * CDI spec files on disk: written before any answer refers to them, replaced atomically, and checked for changes by
 * other programs.
 *
 * @module
 */
import { lstatSync, mkdirSync, readFileSync, renameSync, rmSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { fileNameOf, namesIn } from "./files.ts";

/** The part of a CDI spec that is used here: annotations that identify the owner of the file. */
export interface AnnotatedSpec {
  readonly annotations: Readonly<Record<string, string>>;
}

const PREFIX = "rdma-device-plugin_";

/** A file name has at most 255 bytes. */
const LONGEST_RESOURCE = 200;

/** A file written by this process. */
interface Written {
  readonly text: string;
  /** Identifies the file; differs when another program replaced it. */
  readonly mark: string | null;
}

/** A spec that another process of this program wrote, for example the previous plugin. */
export interface OtherSpec {
  /** File name. */
  readonly name: string;
  readonly resource: string;
  /** Socket of the plugin that wrote it. */
  readonly socket: string;
}

/** The CDI files of this process in one directory. */
export class CdiFiles {
  readonly #dir: string;
  readonly #written = new Map<string, Written>();

  constructor(dir: string) {
    this.#dir = dir;
  }

  /**
   * Writes the resource's spec, unless the file already has this content.
   * @throws when the directory cannot be written; Allocate must then not return CDI names
   */
  write(resource: string, spec: AnnotatedSpec): void {
    const text = `${JSON.stringify(spec, null, 2)}\n`;
    const path = this.#path(resource);
    if (this.#written.get(resource)?.text === text && this.isInPlace(resource)) return;
    try {
      mkdirSync(this.#dir, { recursive: true });
      // Runtimes read every *.json and *.yaml in the directory, so a partial file needs another extension.
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

  /** Whether the file that this process wrote is still there and has not been replaced. */
  isInPlace(resource: string): boolean {
    const mark = this.#written.get(resource)?.mark ?? null;
    return mark !== null && mark === markOf(this.#path(resource));
  }

  /** Whether this process has written a file for the resource. */
  has(resource: string): boolean {
    return this.#written.has(resource);
  }

  /** The spec on disk, regardless of the writer; null when there is none of this program. */
  read(resource: string): AnnotatedSpec | null {
    const spec = specAt(this.#path(resource));
    return spec !== null && spec.annotations["rdma-device-plugin/resource"] === resource ? spec : null;
  }

  /**
   * Removes the resource's file, unless another process has replaced it.
   * @returns the file that could not be removed, or null
   */
  remove(resource: string): string | null {
    const path = this.#path(resource);
    const ours = this.isInPlace(resource);
    this.#written.delete(resource);
    return !ours || tryRemove(path) ? null : path;
  }

  /** Stops managing the resource's file without removing it; returns its path. */
  leave(resource: string): string {
    this.#written.delete(resource);
    return this.#path(resource);
  }

  /** Resources that this process has files for. */
  get resources(): readonly string[] {
    return [...this.#written.keys()];
  }

  /** Specs of this program in the directory that other processes wrote. */
  others(): readonly OtherSpec[] {
    return namesIn(this.#dir).filter(isOurs).flatMap((name) => {
      const annotations = specAt(join(this.#dir, name))?.annotations;
      const resource = annotations?.["rdma-device-plugin/resource"];
      const socket = annotations?.["rdma-device-plugin/socket"];
      if (typeof resource !== "string" || typeof socket !== "string") return []; // not written by this program
      return this.#written.has(resource) ? [] : [{ name, resource, socket }];
    });
  }

  /** Removes a file of {@link others}; returns false on failure, which the next start retries. */
  removeOther({ name }: OtherSpec): boolean {
    return tryRemove(join(this.#dir, name));
  }

  #path(resource: string): string {
    return join(this.#dir, `${PREFIX}${fileNameOf(resource, LONGEST_RESOURCE)}.json`);
  }
}

/** Removes a file; returns false on failure, for example on a read-only file system. */
function tryRemove(path: string): boolean {
  try {
    rmSync(path, { force: true });
    return true;
  } catch {
    return false;
  }
}

/** A rename changes the inode; the time shows that the file was written to. */
function markOf(path: string): string | null {
  try {
    const { ino, mtimeMs, size } = lstatSync(path);
    return `${ino}:${mtimeMs}:${size}`;
  } catch {
    return null;
  }
}

function isOurs(name: string): boolean {
  return name.startsWith(PREFIX) && name.endsWith(".json");
}

/** Parses a file if it identifies its owner; null otherwise. */
function specAt(path: string): AnnotatedSpec | null {
  try {
    const spec = JSON.parse(readFileSync(path, "utf8")) as Partial<AnnotatedSpec> | null;
    return typeof spec?.annotations === "object" && spec.annotations !== null ? spec as AnnotatedSpec : null;
  } catch {
    return null;
  }
}
