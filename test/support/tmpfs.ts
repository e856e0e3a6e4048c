/**
 * File systems of the test's own that can be full or read-only. Needs root: `needs("root")`.
 *
 * @module
 */
import { mkdirSync, rmSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { run } from "./run.ts";

/** A tmpfs; disposing it unmounts it, whatever is still open in it. */
export interface Tmpfs extends Disposable {
  readonly path: string;
  /** Makes it read-only or writable again. */
  remount(how: "ro" | "rw"): void;
  /** Uses up what is left of it: every inode with empty files, or every block with one file. */
  fill(what: "inodes" | "blocks"): void;
  /** Removes what {@link fill} made. */
  free(): void;
}

/** The same directory under a second path that can be read-only by itself, as a volume of a pod can. */
export function boundTo(source: string, path: string): Disposable & Pick<Tmpfs, "path" | "remount"> {
  mkdirSync(path, { recursive: true });
  run("mount", ["--bind", source, path]);
  return {
    path,
    remount: (how) => void run("mount", ["-o", `remount,bind,${how}`, path]),
    [Symbol.dispose]: () => void run("umount", ["--lazy", path]),
  };
}

/** Mounts one at the path, which is made when it is missing. `size` in bytes, rounded up to pages by the kernel. */
export function tmpfs(path: string, { size = 1 << 20, inodes = 64 } = {}): Tmpfs {
  mkdirSync(path, { recursive: true });
  run("mount", ["-t", "tmpfs", "-o", `size=${size},nr_inodes=${inodes},mode=755`, "rdma-test", path]);
  const made: string[] = [];
  const make = (content: Uint8Array) => {
    const filler = join(path, `filler-${made.length}`);
    made.push(filler);
    writeFileSync(filler, content);
  };
  return {
    path,
    remount: (how) => void run("mount", ["-o", `remount,${how}`, path]),
    fill(what) {
      try {
        if (what === "blocks") { for (;;) make(new Uint8Array(4096)); }
        for (;;) make(new Uint8Array());
      } catch (error) {
        if ((error as { code?: string }).code !== "ENOSPC") throw error;
      }
    },
    free() {
      for (const filler of made.splice(0)) rmSync(filler, { force: true });
    },
    [Symbol.dispose]: () => void run("umount", ["--lazy", path]),
  };
}
