/**
 * Checks of the kubelet: its directory, its socket, and other plugins with the same resource names.
 *
 * @module
 */
import type { Facts } from "./facts.ts";
import { type Finding, ok, problem, warning } from "./finding.ts";
import type { DirectoryState } from "./rights.ts";

/** Description of a directory that cannot be written. */
const NOT_WRITABLE: Readonly<Partial<Record<DirectoryState, string>>> = {
  "missing": "does not exist",
  "no directory": "is not a directory",
  "read-only": "is mounted read-only",
  "denied": "is not writable for this process",
};

const DIRECTORY_FIXES: Readonly<Partial<Record<DirectoryState, string>>> = {
  "read-only": "mount it without readOnly: true",
  "denied": "run as the user that owns it (root); with SELinux give the pod a type that may (container_runtime_t, " +
    "as the manifest does)",
};

export function kubelet({ kubelet, refused }: Facts): Finding[] {
  const { dir, state, socket, longPaths } = kubelet;
  const findings: Finding[] = longPaths.map((sentence) =>
    problem(
      "socket-path",
      sentence,
      "the kernel rejects longer paths, so the resource cannot be served",
      "use a shorter path",
    )
  );
  if (refused.includes(dir)) return findings;
  const reason = NOT_WRITABLE[state];
  if (reason !== undefined) {
    findings.push(problem(
      "kubelet-dir",
      `${dir} ${reason}`,
      "the plugin creates its socket there for the kubelet to call",
      DIRECTORY_FIXES[state] ??
        "mount the kubelet's device-plugins directory, or set --kubelet-dir (k3s, microk8s and others have their own)",
    ));
    return findings;
  }
  const path = `${dir}/kubelet.sock`;
  if (socket === "answers") return [...findings, ok("kubelet-down", `the kubelet answers on ${path}`)];
  if (socket === "denied") {
    findings.push(problem(
      "kubelet-dir",
      `${path} exists, but this process has no permission to connect to it`,
      "nothing can be registered, although the kubelet may be running",
      `run as root; ${DIRECTORY_FIXES.denied!.split("; ")[1]}`,
    ));
    return findings;
  }
  findings.push(problem(
    "kubelet-down",
    socket === "missing" ? `${path} does not exist` : `no one answers on ${path}`,
    "nothing can be registered until the kubelet is up; the plugin waits for it",
    "systemctl status kubelet; if it runs, it uses another directory: set --kubelet-dir",
  ));
  return findings;
}

/**
 * A label cannot be read without tools, and whether a policy allows an access is only known after it was denied. So
 * SELinux is a finding only where something was denied, and is otherwise just reported.
 */
export function selinux({ selinux, kubelet }: Facts): Finding[] {
  if (selinux === null) return [];
  if (kubelet.state !== "denied" && kubelet.socket !== "denied") {
    return [ok("selinux", `SELinux context ${selinux}; no access was denied`)];
  }
  return [warning(
    "selinux",
    `this process runs under SELinux as ${selinux}, and was denied access to the kubelet's directory or sockets`,
    "ordinary containers (container_t) may not use the kubelet's directory or sockets, even as root",
    `ls -Zd ${kubelet.dir} and ausearch -m avc -ts recent on the node show whether it was SELinux`,
  )];
}

export function names({ kubelet }: Facts): Finding[] {
  const { takenNames, otherSockets } = kubelet;
  const others = otherSockets.length === 0 ? "" : `; other plugins' sockets here: ${otherSockets.join(", ")}`;
  return takenNames.map((name) =>
    warning(
      "name-taken",
      `the kubelet has registered ${name}, but no process serves this plugin's socket for it${others}`,
      "either this plugin is not running, or another plugin has registered the same name and the two will displace each other",
      "kubectl get pods -A -o wide shows the node's plugins; stop the other one, or use another resource name for this one",
    )
  );
}
