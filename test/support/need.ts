/**
 * What a test needs of the machine, and what to do when it is not there.
 *
 * @module
 */
import { spawnSync } from "node:child_process";
import { accessSync, constants, existsSync } from "node:fs";
import { delimiter, join } from "node:path";
import process from "node:process";
import { fileURLToPath } from "node:url";

/** Something a test cannot do without. */
export type Need =
  | "root"
  | "libibverbs"
  | "no-rdma"
  | "libibverbs-dev"
  | "python3-grpcio"
  | "go"
  | "gcc"
  | "netns"
  | "qemu"
  | "chromium"
  | "promtool"
  | "kubectl"
  | "helm"
  | "unshare"
  | "strace"
  | "systemd-analyze"
  | "node"
  | "buildah"
  | "runc"
  | "cni"
  | "busybox";

/** How to see whether a need is met, and what to tell people when it is not. */
interface Probe {
  readonly met: () => boolean;
  readonly reason: string;
  readonly remedy: string;
}

/** Go programs of the tests. */
const MODULES = ["go", "podsecurity"].map((name) => fileURLToPath(new URL(`../foreign/${name}`, import.meta.url)));

/** Of the fake hosts that libibverbs is shown; a vendor's own rdma-core has fewer. */
const PROVIDERS = ["bnxt_re", "efa", "mlx5"];

/** Of the kernel, and of the C library. */
const HEADERS = "#include <linux/netlink.h>\n#include <stdlib.h>\n";

const PROBES: Readonly<Record<Need, Probe>> = {
  root: {
    met: () => process.geteuid?.() === 0,
    reason: "the test changes the machine in ways that only root may",
    remedy: "run the tests as root",
  },
  libibverbs: {
    met: () => libraryLoads() && PROVIDERS.every((name) => existsSync(`/etc/libibverbs.d/${name}.driver`)),
    reason: "the test asks the real libibverbs.so.1, with its providers",
    remedy: "apt-get install -y libibverbs1 ibverbs-providers",
  },
  "no-rdma": {
    // The class is there from the moment when ib_core is loaded. The library then asks the kernel by netlink.
    met: () => !existsSync("/sys/class/infiniband"),
    reason: "the test has the real libibverbs read a fake host's tree, which it does only where the kernel has no RDMA",
    remedy: "run the tests where ib_core is not loaded as well",
  },
  "libibverbs-dev": {
    met: () => existsSync("/usr/include/infiniband/verbs.h"),
    reason: "the test compares with libibverbs' C header",
    remedy: "apt-get install -y libibverbs-dev",
  },
  "python3-grpcio": {
    met: () => onPath("protoc") && spawnSync("/usr/bin/python3", ["-c", "import grpc, google.protobuf"]).status === 0,
    reason: "a gRPC peer that is not grpc-js takes part in the test",
    remedy: "apt-get install -y python3-grpcio python3-protobuf protobuf-compiler",
  },
  go: {
    met: () => onPath("go") && MODULES.every(hasModules),
    reason: "the test builds a program in Go, such as a client with grpc-go, the kubelet's own library",
    remedy: "install Go 1.26 or newer, and let it download modules once",
  },
  gcc: {
    met: () => onPath("gcc") && spawnSync("gcc", ["-E", "-"], { input: HEADERS }).status === 0,
    reason: "the test compiles C against the system's headers",
    remedy: "apt-get install -y gcc libc6-dev linux-libc-dev",
  },
  netns: {
    met: () => onPath("ip") && spawnSync("unshare", ["--net", "true"]).status === 0,
    reason: "the test makes a network namespace (as root, with iproute2)",
    remedy: "apt-get install -y iproute2 util-linux, and run the tests as root",
  },
  qemu: {
    met: () => onPath("qemu-system-x86_64"),
    reason: "the test starts a machine of its own under emulation",
    remedy:
      "apt-get install -y qemu-system-x86 seabios cpio busybox-static kmod iproute2 ibverbs-utils ibverbs-providers",
  },
  chromium: {
    met: () => existsSync("/usr/bin/chromium"),
    reason: "the test clicks through a page",
    remedy: "apt-get install -y chromium",
  },
  promtool: {
    met: () => onPath("promtool"),
    reason: "the test has the metrics checked by Prometheus' own tool",
    remedy: "apt-get install -y prometheus",
  },
  kubectl: {
    met: () => onPath("kubectl"),
    reason: "the test builds the kustomize overlays",
    remedy: "install kubectl 1.27 or newer, or kustomize under its name",
  },
  helm: {
    met: () => onPath("helm"),
    reason: "the test renders the chart",
    remedy: "install helm 3, for example with go install helm.sh/helm/v3/cmd/helm@v3.19.0",
  },
  node: {
    met: () => Number(/^v(\d+)/.exec(spawnSync("node", ["--version"], { encoding: "utf8" }).stdout ?? "")?.[1]) >= 20,
    reason: "the test runs the plugin's bundle on Node.js 20 or newer",
    remedy: "install Node.js 20 or newer",
  },
  buildah: {
    met: () => onPath("buildah") && onPath("mmdebstrap") && onPath("podman"),
    reason: "the test builds the image",
    remedy: "apt-get install -y buildah mmdebstrap podman",
  },
  runc: {
    met: () => onPath("runc"),
    reason: "the test has containerd run containers",
    remedy: "apt-get install -y runc",
  },
  cni: {
    met: () => existsSync("/usr/lib/cni/ptp"),
    reason: "pods of the test have networks",
    remedy: "apt-get install -y containernetworking-plugins",
  },
  busybox: {
    met: () => existsSync("/bin/busybox"),
    reason: "pods of the test run busybox",
    remedy: "apt-get install -y busybox-static",
  },
  strace: {
    met: () => onPath("strace") && spawnSync("strace", ["-qq", "-o", "/dev/null", "true"]).status === 0,
    reason: "the test watches the plugin's system calls (and needs to be allowed to trace)",
    remedy: "apt-get install -y strace",
  },
  "systemd-analyze": {
    met: () => onPath("systemd-analyze"),
    reason: "the test has systemd's own tool check the unit",
    remedy: "apt-get install -y systemd",
  },
  unshare: {
    met: () => spawnSync("unshare", ["--mount", "true"]).status === 0,
    reason: "the test makes a mount namespace (as root, with util-linux)",
    remedy: "apt-get install -y util-linux, and run the tests as root",
  },
};

/**
 * Spread this into a test definition: `Deno.test({ name: "…", ...needs("root", "netns"), fn })`.
 *
 * A need that is not met ignores the test and says so on stderr, once per need and test file. Where the environment
 * has `CI_NO_SKIP=1` nothing may be skipped quietly: a test named "needs X" is added that fails with the remedy.
 */
export function needs(...what: readonly Need[]): { readonly ignore: boolean } {
  const missing = what.filter((need) => !isMet(need));
  for (const need of missing) report(need);
  return { ignore: missing.length > 0 };
}

/** The remedy for a need that is not met, for programs that are no tests; nothing when it is met. */
export function missing(need: Need): readonly string[] {
  return isMet(need) ? [] : [`${need} is missing: ${PROBES[need].remedy}`];
}

/** Probing may start a process, so every answer is kept for the life of the test file; so is what has been said. */
const answers = new Map<Need, boolean>();
const reported = new Set<Need>();

function isMet(need: Need): boolean {
  const known = answers.get(need);
  if (known !== undefined) return known;
  const met = PROBES[need].met();
  answers.set(need, met);
  return met;
}

function report(need: Need): void {
  if (reported.has(need)) return;
  reported.add(need);
  const { reason, remedy } = PROBES[need];
  const sentence = `${need} is missing here, and ${reason}. Remedy: ${remedy}`;
  if (process.env.CI_NO_SKIP === "1") {
    Deno.test(`needs ${need}`, () => {
      throw new Error(sentence);
    });
  } else {
    process.stderr.write(`skipping: ${sentence}\n`);
  }
}

function onPath(command: string): boolean {
  return (process.env.PATH ?? "").split(delimiter).some((directory) => {
    try {
      accessSync(join(directory, command), constants.X_OK);
      return true;
    } catch {
      return false;
    }
  });
}

/** Whether this Go takes the module, and has, or can get, what it requires. */
function hasModules(directory: string): boolean {
  const env = { ...process.env, GOTOOLCHAIN: "local" };
  return spawnSync("go", ["mod", "download"], { cwd: directory, env, timeout: 120_000 }).status === 0;
}

function libraryLoads(): boolean {
  try {
    Deno.dlopen("libibverbs.so.1", {}).close();
    return true;
  } catch {
    return false;
  }
}
