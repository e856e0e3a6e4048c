/**
 * Checks of the kubelet: its directory, its socket, and who else has our names.
 *
 * @module
 */
import type { Facts } from "./facts.ts";
import { type Finding, ok, problem, warning } from "./finding.ts";
import type { DirectoryState } from "./rights.ts";

/** How a directory that cannot be written to is described. */
const NOT_WRITABLE: Readonly<Partial<Record<DirectoryState, string>>> = {
  "missing": "is not there",
  "no directory": "is no directory",
  "read-only": "is mounted read-only",
  "denied": "is not writable for this process",
};

const DIRECTORY_MENDS: Readonly<Partial<Record<DirectoryState, string>>> = {
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
      "the kernel refuses longer paths, so the resource cannot be served",
      "use a shorter path",
    )
  );
  if (refused.includes(dir)) return findings;
  const trouble = NOT_WRITABLE[state];
  if (trouble !== undefined) {
    findings.push(problem(
      "kubelet-dir",
      `${dir} ${trouble}`,
      "the plugin puts its socket there for the kubelet to call",
      DIRECTORY_MENDS[state] ??
        "mount the kubelet's device-plugins directory, or name it with --kubelet-dir (k3s, microk8s and others have their own)",
    ));
    return findings;
  }
  const path = `${dir}/kubelet.sock`;
  if (socket === "answers") return [...findings, ok("kubelet-down", `the kubelet answers on ${path}`)];
  if (socket === "denied") {
    findings.push(problem(
      "kubelet-dir",
      `${path} is there, and this process may not connect to it`,
      "nothing can be registered, and the kubelet may well be running",
      `run as root; ${DIRECTORY_MENDS.denied!.split("; ")[1]}`,
    ));
    return findings;
  }
  findings.push(problem(
    "kubelet-down",
    socket === "missing" ? `${path} does not exist` : `nobody answers on ${path}`,
    "nothing can be registered until the kubelet is up; the plugin waits for it by itself",
    "systemctl status kubelet; if it runs, its directory is another one: --kubelet-dir",
  ));
  return findings;
}

/**
 * A label cannot be read without tools, and whether a policy allows something is only known when it has not. So it is
 * spoken of where something was refused, and else only told.
 */
export function selinux({ selinux, kubelet }: Facts): Finding[] {
  if (selinux === null) return [];
  if (kubelet.state !== "denied" && kubelet.socket !== "denied") {
    return [ok("selinux", `SELinux context ${selinux}, which was refused nothing that was tried`)];
  }
  return [warning(
    "selinux",
    `this process runs under SELinux as ${selinux}, and something of the kubelet's was refused to it`,
    "ordinary containers (container_t) may not use the kubelet's directory or sockets, as root either",
    `ls -Zd ${kubelet.dir}, and ausearch -m avc -ts recent on the node, tell whether it was SELinux`,
  )];
}

export function names({ kubelet }: Facts): Finding[] {
  const { takenNames, otherSockets } = kubelet;
  const others = otherSockets.length === 0 ? "" : `; other plugins' sockets here: ${otherSockets.join(", ")}`;
  return takenNames.map((name) =>
    warning(
      "name-taken",
      `the kubelet has ${name} on record, but nobody serves this plugin's socket for it${others}`,
      "either this plugin is not running, or another one registered the same name and the two will take it from each other",
      "kubectl get pods -A -o wide shows the node's plugins; stop the other one, or give this one another resource name",
    )
  );
}
