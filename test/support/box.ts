/**
 * A room that looks like the image's container from within, made of this machine's own files: read-only root, no
 * capability, the host's trees set aside at /host, the kubelet's directory in its place. Takes milliseconds, so that the
 * sandbox can be tried without building an image.
 *
 * @module
 */
import { copyFileSync, existsSync, mkdirSync, writeFileSync } from "node:fs";
import { dirname, join } from "node:path";
import { execPath } from "node:process";
import { BUNDLE, bundle, type PermissionSet } from "./bundle.ts";
import { FakeHost, PluginProcess, preset } from "../../sim/mod.ts";
import { temporaryDir } from "./temp.ts";

/** Directories of the machine that programs need, where it has them. */
const SYSTEM = ["usr", "bin", "lib", "lib64"];
const EMPTY = [
  "app",
  "dev",
  "etc",
  "host/sys",
  "host/dev",
  "proc",
  "sys",
  "tmp",
  "root",
  "var/lib/kubelet/pod-resources",
  "var/run/cdi",
  "etc/kubernetes/node-feature-discovery/features.d",
];

/** What happens inside: mounts, which only this process sees, then the command without any privilege. */
const ENTER = `
root=$1 sys=$2 dev=$3; shift 3
mount --bind "$root" "$root"
for name in ${SYSTEM.join(" ")}; do
  [ -e "/$name" ] || continue
  mkdir -p "$root/$name"; mount --rbind "/$name" "$root/$name"; mount -o remount,bind,ro "$root/$name"
done
mount --rbind /proc "$root/proc"
mount --rbind /sys "$root/sys"
mount -t tmpfs -o mode=755 dev "$root/dev"
for name in null urandom; do touch "$root/dev/$name"; mount --bind "/dev/$name" "$root/dev/$name"; done
touch "$root/app/deno"; mount --bind "$BOX_DENO" "$root/app/deno"
mount --bind "$sys" "$root/host/sys"; mount -o remount,bind,ro "$root/host/sys"
mount --bind "$dev" "$root/host/dev"; mount -o remount,bind,ro "$root/host/dev"
mount --bind "$root/var/lib/kubelet" "$root/var/lib/kubelet"
mount --bind "$root/var/lib/kubelet/pod-resources" "$root/var/lib/kubelet/pod-resources"
mount -o remount,bind,ro "$root/var/lib/kubelet/pod-resources"
mount --bind "$root/var/run/cdi" "$root/var/run/cdi"
features=etc/kubernetes/node-feature-discovery/features.d
mount --bind "$root/$features" "$root/$features"
mount -o remount,bind,ro "$root"
exec chroot "$root" setpriv --bounding-set=-all --inh-caps=-all --no-new-privs "$@"
`;

/** As in the image, and what a pod has besides. */
const ENVIRONMENT = {
  PATH: "/usr/sbin:/usr/bin:/sbin:/bin",
  DENO_NO_PROMPT: "1",
  DENO_NO_UPDATE_CHECK: "1",
  DENO_DIR: "/tmp/none",
  NO_COLOR: "1",
};

export interface Box extends AsyncDisposable {
  readonly host: FakeHost;
  /** The kubelet's directories as this process sees them. */
  readonly kubeletDir: string;
  readonly registryDir: string;
  readonly cdiDir: string;
  /** node-feature-discovery's local features. */
  readonly featureDir: string;
  /** Read-only from within, as the manifests mount it. */
  readonly podResourcesDir: string;
  /** Puts a file into the box, before something runs in it. */
  put(path: string, text: string): void;
  /** Runs the bundle in the box under a permission set, which more of Deno's flags may narrow. */
  plugin(set: PermissionSet, args: readonly string[], ...narrowed: readonly string[]): PluginProcess;
  /** Runs Deno in the box; /app has the bundle and the permission sets. */
  deno(...args: readonly string[]): PluginProcess;
}

/** Lines of its log in which a permission that is missing shows itself; FFI is left out on purpose in one of the sets. */
export function complaints({ log }: PluginProcess): readonly string[] {
  return log.filter((line) => /Requires (?!ffi)|NotCapable|ERROR/.test(line));
}

/** Makes a box on a host of that preset. */
export async function box(presetName: string): Promise<Box> {
  const dir = temporaryDir();
  const root = join(dir.path, "r");
  for (const name of EMPTY) mkdirSync(join(root, name), { recursive: true });
  const kubeletDir = join(root, "var/lib/kubelet/device-plugins");
  const registryDir = join(root, "var/lib/kubelet/plugins_registry");
  mkdirSync(kubeletDir);
  const put = (path: string, text: string) => {
    mkdirSync(join(root, dirname(path)), { recursive: true });
    writeFileSync(join(root, path), text);
  };
  put("/etc/shadow", "root:*:1::::::\n");
  if (existsSync("/etc/ld.so.cache")) copyFileSync("/etc/ld.so.cache", join(root, "etc/ld.so.cache"));
  await bundle(join(root, "app"));
  const host = FakeHost.create(FakeHost.temporaryRoot(), preset(presetName));
  const started: PluginProcess[] = [];
  const inside = ["unshare", ..."--mount --net --propagation private sh -euc".split(" "), ENTER, "box"];
  const deno = (...args: readonly string[]) => {
    const command = [...inside, root, host.sysfsRoot, host.devRoot, "/app/deno", ...args];
    // Not an argument: this runtime rewrites the arguments of a child that seems to be itself.
    const one = new PluginProcess(command, { env: { ...ENVIRONMENT, BOX_DENO: execPath } });
    started.push(one);
    return one;
  };
  return {
    host,
    kubeletDir,
    registryDir,
    cdiDir: join(root, "var/run/cdi"),
    featureDir: join(root, "etc/kubernetes/node-feature-discovery/features.d"),
    podResourcesDir: join(root, "var/lib/kubelet/pod-resources"),
    put,
    deno,
    plugin: (set, args, ...narrowed) => deno("run", "--quiet", `-P=${set}`, ...narrowed, `/app/${BUNDLE}`, ...args),
    async [Symbol.asyncDispose]() {
      for (const one of started) await one.stop();
      host.close();
      dir[Symbol.dispose]();
    },
  };
}
