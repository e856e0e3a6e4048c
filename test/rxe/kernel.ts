/**
 * Debian's own kernel, fetched as a package and unpacked without being installed: the machine that runs the tests
 * keeps the kernel it has.
 *
 * @module
 */
import { existsSync, mkdirSync, readdirSync, renameSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import process from "node:process";
import { run } from "../support/run.ts";

/** An unpacked kernel package. */
export interface Kernel {
  /** "6.1.0-30-amd64": what `uname -r` will say, and the name of the modules' directory. */
  readonly release: string;
  readonly image: string;
  /** A root directory for depmod and modprobe: it holds `lib/modules/RELEASE`. */
  readonly root: string;
}

/** Half of 400 MB of modules: folders that nothing RDMA depends on. */
const UNWANTED = ["sound", "drivers/gpu", "drivers/media", "drivers/staging", "drivers/scsi", "drivers/iio"];

/**
 * The kernel that `linux-image-amd64` stands for here; the cloud flavour has no soft-RoCE. It is downloaded and
 * unpacked once per version, below the temporary directory.
 *
 * @throws {Error} with what apt said when the package cannot be had
 */
export function debianKernel(): Kernel {
  const depends = run("apt-cache", ["depends", "linux-image-amd64"]);
  const name = depends.match(/Depends: (linux-image-\S+-amd64)/)?.[1];
  if (name === undefined) {
    throw new Error(`Cannot find Debian's kernel: apt knows no linux-image-amd64; run apt-get update. ${depends}`);
  }
  const release = name.replace("linux-image-", "");
  const root = join(tmpdir(), `rdma-rxe-kernel-${release}`);
  const kernel = { release, root, image: join(root, `boot/vmlinuz-${release}`) };
  if (!existsSync(root)) unpack(name, release, root);
  return kernel;
}

function unpack(name: string, release: string, root: string): void {
  // Beside its place and then renamed, so that an interrupted run leaves nothing that scans complete.
  const work = `${root}.${process.pid}`;
  mkdirSync(work, { recursive: true });
  try {
    run("apt-get", ["download", "-o", "APT::Sandbox::User=root", name], { cwd: work });
    const file = readdirSync(work).find((one) => one.endsWith(".deb"));
    if (file === undefined) throw new Error(`Cannot unpack ${name}: apt-get download left no file`);
    const modules = `./lib/modules/${release}`;
    const wanted = [`./boot/vmlinuz-${release}`, modules];
    const unwanted = UNWANTED.map((folder) => `--exclude=${modules}/kernel/${folder}`);
    const tar = `set -o pipefail; dpkg-deb --fsys-tarfile "$1" | tar -x "\${@:2}"`;
    run("bash", ["-c", tar, "unpack", file, ...unwanted, ...wanted], { cwd: work });
    rmSync(join(work, file));
    run("depmod", ["-b", work, release]);
    renameSync(work, root);
  } catch (error) {
    rmSync(work, { recursive: true, force: true });
    throw error;
  }
}

/** Modules and what they depend on, in the order in which they must be loaded, as paths below `kernel.root`. */
export function moduleFiles(kernel: Kernel, modules: readonly string[]): readonly string[] {
  const shown = modules.map((module) =>
    run("modprobe", ["-d", kernel.root, "-S", kernel.release, "--show-depends", module])
  );
  const files = shown.join("\n").split("\n").map((line) => line.match(/^insmod (\S+)/)?.[1] ?? "");
  return [...new Set(files.filter((file) => file !== ""))].map((file) => file.slice(kernel.root.length + 1));
}
