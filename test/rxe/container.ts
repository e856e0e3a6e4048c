/**
 * What a container runtime makes of an answer to Allocate, as far as device nodes and variables go: a /dev that holds
 * the granted nodes and nothing else.
 *
 * @module
 */
import { statSync } from "node:fs";
import type { AdmittedPod } from "../../sim/kubelet/kubelet.ts";
import { type Running, start } from "./commands.ts";

/** A private /dev, then the nodes (three words each: path, major, minor) up to "--", then the program. */
const ENTER = `
mount -t tmpfs none /dev && mknod /dev/null c 1 3 && mkdir -p /dev/infiniband
while [ "$1" != -- ]; do mknod "$1" c "$2" "$3" || exit 70; shift 3; done
shift
exec "$@"`;

/** Runs a program as the pod's container would: only its nodes are there, at the paths that the answer gave. */
export function runInside(pod: AdmittedPod, command: readonly string[]): Running {
  const nodes = pod.view.devices.flatMap(({ hostPath, containerPath }) => {
    const { rdev } = statSync(hostPath);
    const { major, minor } = numbers(rdev);
    return [containerPath, String(major), String(minor)];
  });
  return start(["unshare", "-m", "sh", "-c", ENTER, "container", ...nodes, "--", ...command], pod.view.envs);
}

/** glibc's packing of `dev_t`, sys/sysmacros.h: 12 lower bits of the major at 8, the minor's upper bits at 20. */
function numbers(dev: number): { major: number; minor: number } {
  return { major: (dev >>> 8) & 0xfff, minor: (dev & 0xff) | ((dev >>> 12) & 0xfff00) };
}
