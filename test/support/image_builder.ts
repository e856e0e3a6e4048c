/**
 * Builds the image where there is no registry: the two base images of the Dockerfile are made here, under the names that
 * it uses, of Debian's packages and of this Deno.
 *
 * @module
 */
import { spawnSync } from "node:child_process";
import { createHash } from "node:crypto";
import { accessSync, constants, copyFileSync, existsSync, mkdirSync, readFileSync, rmSync, statSync } from "node:fs";
import { tmpdir } from "node:os";
import { delimiter, join } from "node:path";
import process, { execPath } from "node:process";
import { ROOT } from "./root.ts";
import { run } from "./run.ts";

/** The architectures there are images for, by their names in the world of containers. */
export const ARCHITECTURES = ["amd64", "arm64", "ppc64le"] as const;
export type Architecture = typeof ARCHITECTURES[number];

const DEBIAN = "localhost/debian:trixie-slim";
const DENO_VERSION = readFileSync(join(ROOT, ".dvmrc"), "utf8").trim();
const DENO = `localhost/denoland/deno:bin-${DENO_VERSION}`;
/** The npm registry has few builds for arm64; this is the one next to the version in .dvmrc. */
const ARM64_VERSION = "2.9.4";
const DENO_ARM64 = {
  image: `localhost/denoland/deno:bin-${ARM64_VERSION}-arm64`,
  package: `@deno/linux-arm64-glibc@${ARM64_VERSION}`,
};
const QEMU = { arm64: "qemu-aarch64-static", ppc64le: "qemu-ppc64le-static" } as const;
const CERTIFICATES = "/etc/ssl/certs/ca-certificates.crt";
/** Files that have no business in the image. */
const UNWANTED = ["bin/sh", "bin/bash", "usr/bin/apt", "usr/bin/dpkg", "usr/bin/perl"];

/** What this machine lacks, with the remedy. */
export function missingTools(architectures: readonly Architecture[]): readonly string[] {
  const tools = ["mmdebstrap", "buildah", "podman", "runc"];
  for (const one of architectures) if (one !== "amd64") tools.push(QEMU[one]);
  const missing = tools.filter((tool) => find(tool) === null);
  const packages = missing.map((tool) => tool.startsWith("qemu-") ? "qemu-user-static" : tool);
  return [
    ...process.geteuid?.() === 0 ? [] : ["it takes root"],
    ...missing.length === 0 ? [] : [`${missing.join(", ")} missing: apt-get install -y ${packages.join(" ")}`],
  ];
}

/** Images in a store of their own. */
export class ImageBuilder {
  /** Arguments that every podman command begins with. */
  readonly podman: readonly string[];
  readonly #store: string;
  readonly #storage: readonly string[];
  readonly #say: (sentence: string) => void;

  constructor(store: string, say: (sentence: string) => void) {
    mkdirSync(store, { recursive: true });
    this.#store = store;
    this.#say = say;
    this.#storage = [`--root=${join(store, "root")}`, `--runroot=${runRoot(store)}`, "--storage-driver=vfs"];
    // runc and no systemd: crun refuses some machines' cgroups.
    this.podman = [...this.#storage, "--cgroup-manager=cgroupfs", `--runtime=${find("runc")}`];
  }

  /**
   * Builds the image of that architecture.
   *
   * @param layers whether steps that did not change since the last build in this store are taken from it
   * @throws with the end of the builder's output
   */
  build(architecture: Architecture, { layers = false } = {}): void {
    if (architecture === "arm64" && ARM64_VERSION !== DENO_VERSION) {
      this.#say(`arm64 is emulated with Deno ${ARM64_VERSION}: the npm registry has no ${DENO_VERSION} for it`);
    }
    this.#bases(architecture);
    this.#timed(`the image for ${architecture}`, () => {
      const certificates = existsSync(CERTIFICATES)
        ? [`--build-arg=DENO_CERT=${CERTIFICATES}`, `--volume=${CERTIFICATES}:${CERTIFICATES}:ro`]
        : [];
      const target = architecture === "arm64" ? [`--build-arg=DENO_TARGET=${DENO_ARM64.image}`] : [];
      this.#buildah(
        "bud",
        "--pull-never",
        "--isolation=chroot",
        "--network=host",
        `--layers=${layers}`,
        `--build-arg=BUILDPLATFORM=linux/${process.arch === "x64" ? "amd64" : process.arch}`,
        `--build-arg=TARGETARCH=${architecture}`,
        ...certificates,
        ...target,
        `--tag=${tagOf(architecture)}`,
        ROOT,
      );
    });
  }

  /** @throws when the image holds what it should not, or cannot say its version without a network */
  checkContents(architecture: Architecture): void {
    const root = this.inspect(["image", "mount", tagOf(architecture)]);
    try {
      const found = UNWANTED.filter((path) => existsSync(join(root, path)));
      if (found.length > 0) throw new Error(`the image has ${found.join(", ")}`);
      for (const path of ["usr/share/doc/rdma-device-plugin/LICENSE", "var/lib/dpkg/status.d/libibverbs1"]) {
        if (!existsSync(join(root, path))) throw new Error(`the image has no ${path}`);
      }
    } finally {
      this.inspect(["image", "unmount", tagOf(architecture)]);
    }
    const said = this.inspect([
      "run",
      "--rm",
      "--network=none",
      "--cap-drop=ALL",
      "--read-only",
      ...LIMITS,
      ...this.runArguments(architecture),
      "--version",
    ]);
    if (!/^rdma-device-plugin \d/.test(said)) throw new Error(`--version says ${JSON.stringify(said)}`);
  }

  /** Image and command for `podman run`; under emulation the emulator is mounted and runs the image's entry point. */
  runArguments(architecture: Architecture): readonly string[] {
    if (architecture === "amd64") return [tagOf(architecture)];
    const emulator = find(QEMU[architecture]);
    const entry = JSON.parse(
      this.inspect(["image", "inspect", "--format", "{{json .Config.Entrypoint}}", tagOf(architecture)]),
    ) as string[];
    return [`--volume=${emulator}:/emulator:ro`, "--entrypoint=/emulator", tagOf(architecture), ...entry];
  }

  /** Size of the image's files, and of the same gzipped, in MB. */
  size(architecture: Architecture): { readonly sizeMb: number; readonly compressedMb: number } {
    const archive = join(this.#store, "image.tar");
    this.inspect(["save", "--quiet", "--format=oci-archive", `--output=${archive}`, tagOf(architecture)]);
    const compressedMb = statSync(archive).size / 1e6;
    rmSync(archive, { force: true });
    return { sizeMb: this.bytes(architecture) / 1e6, compressedMb };
  }

  /** Bytes of the image's files. @throws when the store has no such image */
  bytes(architecture: Architecture): number {
    return Number(this.inspect(["image", "inspect", "--format", "{{.Size}}", tagOf(architecture)]));
  }

  /** Removes a store, and before that its mounts, which would survive it. */
  static remove(store: string): void {
    spawnSync("umount", ["--recursive", "--quiet", join(store, "root/vfs")]);
    rmSync(store, { recursive: true, force: true });
  }

  /** Runs podman; gives what it wrote. @throws with its complaint, unless `quiet` */
  inspect(args: readonly string[], { quiet = false } = {}): string {
    if (!quiet) return run("podman", [...this.podman, ...args]).trim();
    return spawnSync("podman", [...this.podman, ...args], { encoding: "utf8" }).stdout.trim();
  }

  #bases(architecture: Architecture): void {
    if (!this.#has(DEBIAN)) {
      const archive = join(this.#store, "debian.tar");
      this.#timed(DEBIAN, () => {
        run("mmdebstrap", ["--quiet", "--variant=minbase", "trixie", archive]);
        this.#image(DEBIAN, archive, "/");
      });
    }
    // A copy: the installed one may be a link.
    const deno = join(this.#store, "deno");
    if (!this.#has(DENO)) {
      copyFileSync(execPath, deno);
      this.#timed(DENO, () => this.#image(DENO, deno, "/deno"));
    }
    if (architecture === "arm64" && !this.#has(DENO_ARM64.image)) {
      this.#timed(DENO_ARM64.image, () => {
        run("npm", ["pack", "--silent", "--pack-destination", this.#store, DENO_ARM64.package]);
        run("sh", ["-c", `tar -xzf "$1"/*arm64*.tgz -C "$1" --strip-components=1 package/deno`, "sh", this.#store]);
        this.#image(DENO_ARM64.image, deno, "/deno");
      });
    }
  }

  #has(image: string): boolean {
    return spawnSync("podman", [...this.podman, "image", "exists", image]).status === 0;
  }

  #image(name: string, file: string, target: string): void {
    const container = this.#buildah("from", "scratch");
    this.#buildah("add", "--quiet", container, file, target);
    this.#buildah("commit", "--quiet", container, name);
    this.#buildah("rm", container);
  }

  #buildah(...args: readonly string[]): string {
    return run("buildah", [...this.#storage, ...args]).trim();
  }

  #timed(what: string, work: () => void): void {
    const start = performance.now();
    work();
    this.#say(`built ${what} in ${((performance.now() - start) / 1e3).toFixed(0)} s`);
  }
}

const LIMITS = ["--ulimit=nofile=20000:20000", "--ulimit=nproc=4096:4096"];

/** podman refuses a longer path than 50 characters. */
function runRoot(store: string): string {
  const path = join(store, "run");
  return path.length <= 50
    ? path
    : join(tmpdir(), `rdma-run-${createHash("sha256").update(store).digest("hex").slice(0, 8)}`);
}

function tagOf(architecture: Architecture): string {
  return `localhost/rdma-device-plugin:${architecture}`;
}

function find(command: string): string | null {
  for (const directory of [...(process.env.PATH ?? "").split(delimiter), "/usr/sbin", "/sbin"]) {
    try {
      accessSync(join(directory, command), constants.X_OK);
      return join(directory, command);
    } catch {
      // not there
    }
  }
  return null;
}
