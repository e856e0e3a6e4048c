/**
 * The images of a cluster: the plugin's, by the repository's own Dockerfile, and a small one for pods and sandboxes. Both
 * are kept as archives, the plugin's under a digest of all that it is made of.
 *
 * @module
 */
import { spawnSync } from "node:child_process";
import { createHash } from "node:crypto";
import {
  copyFileSync,
  existsSync,
  mkdirSync,
  mkdtempSync,
  readdirSync,
  readFileSync,
  renameSync,
  rmSync,
  statSync,
  symlinkSync,
} from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import process from "node:process";
import { fileURLToPath } from "node:url";
import { ROOT } from "../root.ts";
import { ImageBuilder } from "../image_builder.ts";
import { SANDBOX_IMAGE, snapshotter } from "./config_files.ts";
import type { Space } from "./space.ts";
import { cacheDir } from "./versions.ts";
import { run } from "../run.ts";

/** As the manifests name it. */
export const PLUGIN_IMAGE = "docker.io/library/rdma-device-plugin:0.1.0";
/** What busybox is called as in the small image. */
const APPLETS = ["sh", "sleep", "cat", "ls", "env", "dd", "id", "test", "true", "stat", "mknod", "touch", "head"];
/** A hundred megabytes each. */
const IMAGES_KEPT = 4;
const BUSYBOX = "/bin/busybox";

/** Archives of both images, made where they are missing. Takes root and buildah. */
export function ensureImages(report: (line: string) => void): readonly string[] {
  mkdirSync(cacheDir(), { recursive: true });
  const small = join(cacheDir(), `busybox-${digestOf([BUSYBOX, fileURLToPath(import.meta.url)])}.tar`);
  if (!existsSync(small)) archived(small, (target) => buildSmallImage(target));
  const plugin = join(cacheDir(), `plugin-${digestOf(pluginInputs())}.tar`);
  if (!existsSync(plugin)) {
    report("building the plugin's image (its base once takes two minutes, then half of one) …");
    forgetOldImages();
    archived(plugin, (target) => buildPluginImage(target, report));
  }
  return [small, plugin];
}

/** Puts archives into the node's containerd. */
export function importImages(space: Space, ctr: string, archives: readonly string[]): void {
  for (const archive of archives) {
    space.run([ctr, "--namespace=k8s.io", "images", "import", "--local", `--snapshotter=${snapshotter()}`, archive]);
  }
}

function buildPluginImage(target: string, report: (line: string) => void): void {
  // A store that has this very image already, as CI's step before has made it.
  const made = process.env.CLUSTER_IMAGE_STORE;
  const builder = new ImageBuilder(made ?? join(cacheDir(), "image-store"), report);
  if (made === undefined) builder.build("amd64", { layers: true });
  builder.inspect(["tag", "localhost/rdma-device-plugin:amd64", PLUGIN_IMAGE]);
  builder.inspect(["save", "--quiet", "--format=oci-archive", `--output=${target}`, PLUGIN_IMAGE]);
}

function buildSmallImage(target: string): void {
  const work = mkdtempSync(join(tmpdir(), "rdma-small-image-"));
  try {
    const bin = join(work, "files/bin");
    mkdirSync(bin, { recursive: true });
    copyFileSync(BUSYBOX, join(bin, "busybox"));
    for (const applet of APPLETS) symlinkSync("busybox", join(bin, applet));
    const storage = [`--root=${join(work, "root")}`, `--runroot=${join(work, "run")}`, "--storage-driver=vfs"];
    const buildah = (...args: readonly string[]) => run("buildah", [...storage, ...args]).trim();
    const container = buildah("from", "scratch");
    buildah("copy", "--quiet", container, join(work, "files"), "/");
    buildah("config", `--entrypoint=["/bin/sleep","2147483647"]`, "--env=PATH=/bin", container);
    buildah("commit", "--quiet", container, SANDBOX_IMAGE);
    buildah("push", "--quiet", SANDBOX_IMAGE, `oci-archive:${target}:${SANDBOX_IMAGE}`);
  } finally {
    spawnSync("umount", ["--recursive", "--quiet", join(work, "root/vfs")]);
    rmSync(work, { recursive: true, force: true });
  }
}

/** Keeps the archives of the last few states of the sources: other work trees share the cache. */
function forgetOldImages(): void {
  const archives = readdirSync(cacheDir()).filter((name) => /^plugin-.*\.tar$/.test(name)).map((name) =>
    join(cacheDir(), name)
  );
  const newestFirst = archives.toSorted((a, b) => statSync(b).mtimeMs - statSync(a).mtimeMs);
  for (const old of newestFirst.slice(IMAGES_KEPT - 1)) rmSync(old);
}

/** The archive appears complete or not at all. */
function archived(target: string, build: (target: string) => void): void {
  const unfinished = `${target}.unfinished`;
  rmSync(unfinished, { force: true });
  build(unfinished);
  renameSync(unfinished, target);
}

/** Every file that the Dockerfile copies, and itself. */
function pluginInputs(): string[] {
  const listed = readFileSync(join(ROOT, ".dockerignore"), "utf8").split("\n")
    .filter((line) => line.startsWith("!")).map((line) => line.slice(1));
  return ["Dockerfile", ...listed].flatMap((name) => filesOf(join(ROOT, name)));
}

function filesOf(path: string): string[] {
  const entries = readdirSyncOrNull(path);
  if (entries === null) return [path];
  return entries.sort().flatMap((name) => filesOf(join(path, name)));
}

function readdirSyncOrNull(path: string): string[] | null {
  try {
    return readdirSync(path);
  } catch {
    return null;
  }
}

function digestOf(files: readonly string[]): string {
  const hash = createHash("sha256");
  for (const file of files) hash.update(file.replace(ROOT, "")).update("\0").update(readFileSync(file)).update("\0");
  return hash.digest("hex").slice(0, 16);
}
