/**
 * The guest's only disk: an archive with busybox, the RDMA modules, libibverbs with its providers, Deno, and this
 * project's sources as they are in the working tree.
 *
 * @module
 */
import { existsSync, mkdirSync, readdirSync, realpathSync, statSync, symlinkSync } from "node:fs";
import { dirname, join, relative } from "node:path";
import process from "node:process";
import { ROOT } from "../support/root.ts";
import { type Kernel, moduleFiles } from "./kernel.ts";
import { NET_MODULES, RDMA_MODULES } from "./modules.ts";
import { run } from "../support/run.ts";

/** Programs besides busybox and Deno. */
const PROGRAMS = ["ip", "rdma", "kmod", "ibv_devinfo", "ibv_devices", "ibv_rc_pingpong"];

/** Indices that modprobe reads; they speak of every module of the package, and only the needed ones are taken along. */
const MODULE_INDICES = ["modules.dep.bin", "modules.alias.bin", "modules.builtin.bin", "modules.symbols.bin"];

/** Where the sources and Deno's cache are inside. */
const APP = "app";
const DENO_DIR = "deno";

/** What starts in the guest, from the project's root. */
const ENTRIES = ["mod.ts", "test/rxe/inside.ts"];

/**
 * Builds the archive at `out`.
 *
 * @param work an empty directory for the tree, which holds only links to what goes in
 * @returns bytes of the archive
 */
export function buildInitramfs(kernel: Kernel, work: string, out: string): number {
  const root = join(work, "root");
  const add = (path: string, source: string) => link(source, join(root, path));

  add("init", join(ROOT, "test/rxe/init.sh"));
  add("bin/busybox", which("busybox"));
  const deno = process.execPath;
  add("bin/deno", deno);
  for (const program of PROGRAMS) add(`usr/sbin/${program}`, which(program));

  const providers = providerLibraries();
  const verbs = libraryPath("libibverbs.so.1");
  for (const file of [...providers, verbs]) add(file, file);
  for (const file of linked([deno, verbs, ...PROGRAMS.map(which), ...providers])) add(file, file);
  for (const name of readdirSync("/etc/libibverbs.d")) {
    add(`etc/libibverbs.d/${name}`, join("/etc/libibverbs.d", name));
  }
  const modules = moduleFiles(kernel, [...RDMA_MODULES, ...NET_MODULES]);
  for (const file of modules) add(file, join(kernel.root, file));
  for (const name of MODULE_INDICES) {
    const file = `lib/modules/${kernel.release}/${name}`;
    add(file, join(kernel.root, file));
  }
  addSources(add);
  for (const dir of ["proc", "sys", "dev", "tmp", "run", "var/lib/kubelet"]) {
    mkdirSync(join(root, dir), { recursive: true });
  }
  return pack(root, out);
}

/** Every module that the entries import, the packages among them, and the files that are read at run time. */
function addSources(add: (path: string, source: string) => void): void {
  const { denoDir } = JSON.parse(run(process.execPath, ["info", "--json"])) as { denoDir: string };
  for (const name of ["deno.json", "deno.lock"]) add(join(APP, name), join(ROOT, name));
  for (const name of readdirSync(join(ROOT, "proto"))) add(join(APP, "proto", name), join(ROOT, "proto", name));
  const added = new Set<string>();
  const once = (path: string, source: string) => {
    if (!added.has(path)) add(path, source);
    added.add(path);
  };
  for (const entry of ENTRIES) {
    const graph = JSON.parse(run(process.execPath, ["info", "--json", entry], { cwd: ROOT })) as Graph;
    for (const { local, error } of graph.modules) {
      // What needs the module fails inside, with a sentence of its own; the rest can be shown all the same.
      if (error !== undefined) process.stderr.write(`${entry} goes into the guest incomplete: ${error}\n`);
      if (local !== undefined && local !== null) once(join(APP, relative(ROOT, local)), local);
    }
    for (const { localPath } of Object.values(graph.npmPackages ?? {})) {
      if (!existsSync(localPath)) continue; // the lock file names packages for other platforms, too
      const inside = join(DENO_DIR, relative(denoDir, localPath));
      once(inside, localPath);
      const registry = join(dirname(localPath), "registry.json");
      if (existsSync(registry)) once(join(dirname(inside), "registry.json"), registry);
    }
  }
}

/** What `deno info --json` says, as far as it is used here. */
interface Graph {
  readonly modules: readonly { readonly local?: string | null; readonly error?: string }[];
  readonly npmPackages?: Readonly<Record<string, { readonly localPath: string }>>;
}

/** Provider libraries of libibverbs, one per kind of adapter; it loads all of them whatever the machine has. */
function providerLibraries(): readonly string[] {
  // The library looks for them at the path it was built with, /usr/lib/…; where it was found itself may be /lib/….
  const dir = join(dirname(realpathSync(libraryPath("libibverbs.so.1"))), "libibverbs");
  return readdirSync(dir).filter((name) => name.endsWith(".so")).map((name) => join(dir, name));
}

function libraryPath(soname: string): string {
  const found = run("/sbin/ldconfig", ["-p"]).split("\n").find((line) => line.trim().startsWith(`${soname} `));
  const path = found?.split("=> ")[1]?.trim();
  if (path === undefined) throw new Error(`Cannot find ${soname}; apt-get install -y libibverbs1 ibverbs-providers`);
  return path;
}

/** Shared libraries of ELF files, the loader included, each once. */
function linked(files: readonly string[]): readonly string[] {
  // By way of xargs, because Deno takes its own path among a child's arguments for a call of itself, and rewrites it.
  const said = run("xargs", ["ldd"], { input: files.join("\n") });
  return [...new Set([...said.matchAll(/(?:=> |^\t)(\/\S+) \(0x/gm)].map((match) => match[1]!))]
    .filter((file) => !files.includes(file));
}

function which(program: string): string {
  const dirs = ["/usr/sbin", "/usr/bin", "/sbin", "/bin"];
  const found = dirs.map((dir) => join(dir, program)).find((path) => existsSync(path));
  if (found === undefined) throw new Error(`Cannot find ${program}; apt-get install -y ${PACKAGES.join(" ")}`);
  return found;
}

/** Debian packages that the build takes its parts from, qemu apart. */
export const PACKAGES = ["busybox-static", "cpio", "kmod", "iproute2", "ibverbs-utils", "ibverbs-providers"];

function link(source: string, at: string): void {
  mkdirSync(dirname(at), { recursive: true });
  symlinkSync(realpathSync(source), at);
}

/** The tree holds links to the real files, which cpio follows: nothing is copied twice. */
function pack(root: string, out: string): number {
  run("bash", ["-c", `cd "$1" && find -L . | cpio -o -L -H newc --quiet > "$2"`, "pack", root, out]);
  return statSync(out).size;
}
