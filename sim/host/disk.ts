/**
 * Putting a described tree on disk. A sysfs read is never torn by nature, so every change of a live tree is a rename:
 * files, links and whole directories are made in a staging directory beside the trees and then moved into place.
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

/** A directory: file contents, links and directories by name. `undefined` entries are left out. */
export interface Directory {
  readonly [name: string]: string | Link | Directory | undefined;
}

function isLink(node: Link | Directory): node is Link {
  return typeof node["to"] === "string" && Object.keys(node).length === 1;
}

/** The text of a link inside directory `from`, as sysfs writes it: it always ends with the target's own name. */
function linkText(from: string, to: string): string {
  return join(relative(from, dirname(to)), basename(to));
}

/** Writes into one tree (sysfs or /dev); paths are from its root, with a leading slash. */
export class TreeWriter {
  readonly #root: string;
  readonly #staging: string;
  #serial = 0;

  /** `staging` must be on the same file system as `root` and is never listed as part of it. */
  constructor(root: string, staging: string) {
    this.#root = root;
    this.#staging = staging;
    mkdirSync(root, { recursive: true });
    mkdirSync(staging, { recursive: true });
  }

  /** Where `path` of the tree is on this machine. */
  at(path: string): string {
    return join(this.#root, path);
  }

  /** Whether there is an entry, a link to nowhere included. */
  has(path: string): boolean {
    return lstatSync(this.at(path), { throwIfNoEntry: false }) !== undefined;
  }

  /** Makes the directory and those above it. */
  directory(path: string): void {
    mkdirSync(this.at(path), { recursive: true });
  }

  /** A file with this content and a final newline, in one moment. */
  file(path: string, content: string, mode = 0o644): void {
    const temporary = this.#temporary();
    writeFileSync(temporary, content === "" ? "" : `${content}\n`, { mode });
    // The mode above is subject to the umask; device nodes are not.
    if (mode !== 0o644) chmodSync(temporary, mode);
    renameSync(temporary, this.at(path));
  }

  /** A relative link at `path` to `to`, in one moment; replaces a link that is there. */
  link(path: string, to: string): void {
    const temporary = this.#temporary();
    symlinkSync(linkText(dirname(path), to), temporary);
    renameSync(temporary, this.at(path));
  }

  /** A whole new directory, in one moment. The directories above it are made as needed; `path` must not exist. */
  tree(path: string, content: Directory): void {
    const temporary = this.#temporary();
    this.#write(temporary, path, content);
    this.directory(dirname(path));
    renameSync(temporary, this.at(path));
  }

  /** Adds entries to a directory that may be there already; each file appears in one moment. */
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

  /** Renames inside the tree. */
  move(from: string, to: string): void {
    renameSync(this.at(from), this.at(to));
  }

  /** Removes a file, a link or a whole directory, in one moment; nothing happens when it is not there. */
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

  /** Removes the directory when nothing is in it, as the kernel does with its glue directories; it may be gone already. */
  removeIfEmpty(path: string): void {
    if (existsSync(this.at(path)) && readdirSync(this.at(path)).length === 0) rmdirSync(this.at(path));
  }

  #temporary(): string {
    return join(this.#staging, `.${this.#serial++}`);
  }

  /** Writes `content` to `disk`; links are made for the place `path` where it will be moved to. */
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
