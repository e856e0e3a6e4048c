/**
 * Writes a described tree to disk. Reads of sysfs are never torn, so each change of a live tree is a rename: files,
 * links and directories are created in a staging directory beside the trees and then moved into place.
 *
 * @module
 */
import {
  chmodSync,
  existsSync,
  lstatSync,
  mkdirSync,
  readdirSync,
  renameSync,
  rmdirSync,
  rmSync,
  symlinkSync,
  writeFileSync,
} from "node:fs";
import { basename, dirname, join, relative } from "node:path";

/** A symbolic link; `to` is a path from the root of the tree ("/devices/…"), written as a relative link. */
export interface Link {
  readonly to: string;
}

/** A directory: file contents, links and directories by name. `undefined` entries are skipped. */
export interface Directory {
  readonly [name: string]: string | Link | Directory | undefined;
}

function isLink(node: Link | Directory): node is Link {
  return typeof node["to"] === "string" && Object.keys(node).length === 1;
}

/** The text of a link in directory `from`, as in sysfs: it always ends with the target's own name. */
function linkText(from: string, to: string): string {
  return join(relative(from, dirname(to)), basename(to));
}

/** Writes to one tree (sysfs or /dev); paths start at its root, with a leading slash. */
export class TreeWriter {
  readonly #root: string;
  readonly #staging: string;
  #serial = 0;

  /** `staging` must be on the same file system as `root`; it is never listed as part of it. */
  constructor(root: string, staging: string) {
    this.#root = root;
    this.#staging = staging;
    mkdirSync(root, { recursive: true });
    mkdirSync(staging, { recursive: true });
  }

  /** Path on this machine of `path` in the tree. */
  at(path: string): string {
    return join(this.#root, path);
  }

  /** Whether there is an entry, including broken links. */
  has(path: string): boolean {
    return lstatSync(this.at(path), { throwIfNoEntry: false }) !== undefined;
  }

  /** Creates the directory and its parents. */
  directory(path: string): void {
    mkdirSync(this.at(path), { recursive: true });
  }

  /** Writes a file with this content and a final newline, atomically. */
  file(path: string, content: string, mode = 0o644): void {
    const temporary = this.#temporary();
    writeFileSync(temporary, content === "" ? "" : `${content}\n`, { mode });
    // The mode above is subject to the umask; modes of device nodes are not.
    if (mode !== 0o644) chmodSync(temporary, mode);
    renameSync(temporary, this.at(path));
  }

  /** Creates a relative link at `path` to `to`, atomically; replaces an existing link. */
  link(path: string, to: string): void {
    const temporary = this.#temporary();
    symlinkSync(linkText(dirname(path), to), temporary);
    renameSync(temporary, this.at(path));
  }

  /** Creates a directory with its content, atomically, and its parents as needed; `path` must not exist. */
  tree(path: string, content: Directory): void {
    const temporary = this.#temporary();
    this.#write(temporary, path, content);
    this.directory(dirname(path));
    renameSync(temporary, this.at(path));
  }

  /** Adds entries to a directory that may exist; each file appears atomically. */
  merge(path: string, content: Directory): void {
    this.directory(path);
    for (const [name, node] of Object.entries(content)) {
      const below = join(path, name);
      if (node === undefined) continue;
      if (typeof node === "string") this.file(below, node);
      else if (isLink(node)) this.link(below, node.to);
      else this.merge(below, node);
    }
  }

  /** Renames within the tree. */
  move(from: string, to: string): void {
    renameSync(this.at(from), this.at(to));
  }

  /** Removes a file, a link or a directory, atomically; does nothing when it does not exist. */
  remove(path: string): void {
    const temporary = this.#temporary();
    try {
      renameSync(this.at(path), temporary);
    } catch (error) {
      if ((error as NodeJS.ErrnoException).code === "ENOENT") return;
      throw error;
    }
    rmSync(temporary, { recursive: true, force: true });
  }

  /** Removes an empty directory, as the kernel does with its glue directories; it may not exist. */
  removeIfEmpty(path: string): void {
    if (existsSync(this.at(path)) && readdirSync(this.at(path)).length === 0) rmdirSync(this.at(path));
  }

  #temporary(): string {
    return join(this.#staging, `.${this.#serial++}`);
  }

  /** Writes `content` to `disk`; links are relative to `path`, its final place. */
  #write(disk: string, path: string, content: Directory): void {
    mkdirSync(disk);
    for (const [name, node] of Object.entries(content)) {
      if (node === undefined) continue;
      if (typeof node === "string") writeFileSync(`${disk}/${name}`, node === "" ? "" : `${node}\n`);
      else if (isLink(node)) symlinkSync(linkText(path, node.to), `${disk}/${name}`);
      else this.#write(`${disk}/${name}`, `${path}/${name}`, node);
    }
  }
}
