/**
 * Checks of limits and of the CDI directory.
 *
 * @module
 */
import type { Facts } from "./facts.ts";
import type { ResourceSpec } from "../pool/spec.ts";
import { type Finding, ok, problem, warning } from "./finding.ts";

/** Bytes; with less, real programs fail. Usual defaults are 64 KiB and 8 MiB. */
const ENOUGH_MEMLOCK = 2 ** 30;
const ENOUGH_INOTIFY = 128;

/** Whether a resource has CDI files; with `api: dra`, each claim has one. */
export function usesCdi({ cdi, api }: ResourceSpec): boolean {
  return cdi || api === "dra";
}

export function cdi({ inventory, cdi, refused }: Facts): Finding[] {
  if (!inventory.specs.some(usesCdi) || refused.includes(cdi.dir) || cdi.state === "unknown") return [];
  if (cdi.state === "writable") return [ok("cdi-dir", `${cdi.dir} is writable for CDI specs`)];
  const how = cdi.state === "no directory" ? "is not a directory" : "cannot be written";
  return [problem(
    "cdi-dir",
    `${cdi.dir} ${how}${cdi.state === "read-only" ? " (the mount is read-only)" : ""}`,
    "resources with cdi: true or api: dra cannot be allocated, because the runtime would not find the devices",
    "mount /var/run/cdi writable, or set another directory with --cdi-dir",
  )];
}

export function limits({ memlock, inotifyInstances }: Facts): Finding[] {
  const findings: Finding[] = [];
  if (memlock !== null && memlock < ENOUGH_MEMLOCK) {
    findings.push(warning(
      "memlock",
      `locked memory is limited to ${Math.round(memlock / 1024)} KiB for this process`,
      "in a container, pods get the same limit from the runtime: registering memory (ibv_reg_mr) then fails with ENOMEM " +
        "without CAP_IPC_LOCK, and a device plugin cannot raise it. In a shell, it is only the limit of the shell",
      "set LimitMEMLOCK=infinity for containerd or CRI-O (systemctl edit containerd), or give the pods CAP_IPC_LOCK",
    ));
  } else if (memlock !== null) {
    const amount = memlock === Infinity ? "not limited" : `limited to ${Math.floor(memlock / ENOUGH_MEMLOCK)} GiB`;
    findings.push(ok("memlock", `locked memory is ${amount}`));
  }
  if (inotifyInstances !== null && inotifyInstances < ENOUGH_INOTIFY) {
    findings.push(warning(
      "inotify",
      `fs.inotify.max_user_instances is ${inotifyInstances}`,
      "when it is exhausted, a kubelet restart is detected by polling within a second instead of at once",
      "sysctl fs.inotify.max_user_instances=1024",
    ));
  }
  return findings;
}
