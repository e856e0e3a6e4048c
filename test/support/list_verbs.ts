/**
 * Asks the real libibverbs what it sees of a fake host, in a process and a mount namespace of its own (the library
 * reads SYSFS_PATH once, and looks for nodes in /dev/infiniband only). Needs root and libibverbs. Started as a
 * program, this file is that process.
 *
 * @module
 */
import { existsSync } from "node:fs";
import { join } from "node:path";
import process from "node:process";
import { fileURLToPath } from "node:url";
import { run } from "./run.ts";

/** One entry of the library's list. */
export interface ListedDevice {
  readonly name: string;
  readonly uverbs: string;
  /** As sysfs prints it. */
  readonly guid: string;
}

/**
 * A private /dev with the host's infiniband directory and the few nodes that every program opens, and with /dev/shm,
 * where the host itself may be.
 */
const NAMESPACE = `set -e
mount -t tmpfs none /mnt
if [ -n "$FAKE_INFINIBAND" ]; then mkdir /mnt/infiniband; mount --bind "$FAKE_INFINIBAND" /mnt/infiniband; fi
for node in null zero random urandom; do touch /mnt/$node; mount --bind /dev/$node /mnt/$node; done
if [ -d /dev/shm ]; then mkdir /mnt/shm; mount --rbind /dev/shm /mnt/shm; fi
mount --move /mnt /dev
exec "$@"`;

/**
 * Command and environment that run `command` where /dev/infiniband is the fake host's and libibverbs reads its sysfs.
 */
export function onFakeHost(
  host: { readonly sysfsRoot: string; readonly devRoot: string },
  command: readonly string[],
): { readonly file: string; readonly args: string[]; readonly env: Record<string, string | undefined> } {
  const infiniband = join(host.devRoot, "infiniband");
  return {
    file: "unshare",
    args: ["--mount", "sh", "-c", NAMESPACE, "sh", ...command],
    env: {
      ...process.env,
      SYSFS_PATH: host.sysfsRoot,
      FAKE_INFINIBAND: existsSync(infiniband) ? infiniband : "",
    },
  };
}

/** What `ibv_get_device_list` says on that host. */
export function listVerbs(host: { readonly sysfsRoot: string; readonly devRoot: string }): ListedDevice[] {
  const script = fileURLToPath(import.meta.url);
  const { file, args, env } = onFakeHost(host, [process.execPath, "run", "-A", "--no-check", script]);
  return JSON.parse(run(file, args, { env }));
}

/** Offsets in `struct ibv_device` of rdma-core on 64-bit machines. */
const [NAME, DEV_NAME] = [24, 88];

function list(): ListedDevice[] {
  const library = Deno.dlopen("libibverbs.so.1", {
    ibv_get_device_list: { parameters: ["buffer"], result: "pointer" },
    ibv_get_device_guid: { parameters: ["pointer"], result: "u64" },
    ibv_free_device_list: { parameters: ["pointer"], result: "void" },
  });
  const count = new Int32Array(1);
  const devices = library.symbols.ibv_get_device_list(count);
  if (devices === null) return []; // The process ends here, and the library with it.
  const view = new Deno.UnsafePointerView(devices);
  const found = Array.from({ length: count[0] ?? 0 }, (_, index): ListedDevice => {
    const device = view.getPointer(index * 8);
    if (device === null) throw new Error(`Entry ${index} of the device list is NULL`);
    const text = new Deno.UnsafePointerView(device);
    // Network byte order in memory.
    const guid = new DataView(BigUint64Array.of(library.symbols.ibv_get_device_guid(device)).buffer)
      .getBigUint64(0, false).toString(16).padStart(16, "0").replace(/(.{4})(?=.)/g, "$1:");
    return { name: text.getCString(NAME), uverbs: text.getCString(DEV_NAME), guid };
  });
  library.symbols.ibv_free_device_list(devices);
  library.close();
  return found;
}

if (import.meta.main) process.stdout.write(JSON.stringify(list()));
