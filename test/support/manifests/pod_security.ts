/**
 * The Pod Security Standards as checks of one pod: which controls of the levels "baseline" and "restricted" it breaks.
 * Names and rules are those of the Kubernetes documentation's table, for Linux pods.
 *
 * @module
 */

/** A control that a pod breaks. */
export interface Breach {
  readonly level: "baseline" | "restricted";
  /** The control's name in the standard. */
  readonly control: string;
  /** What in the pod breaks it. */
  readonly because: string;
}

interface SecurityContext {
  readonly privileged?: boolean;
  readonly allowPrivilegeEscalation?: boolean;
  readonly readOnlyRootFilesystem?: boolean;
  readonly runAsNonRoot?: boolean;
  readonly runAsUser?: number;
  readonly procMount?: string;
  readonly capabilities?: { readonly add?: readonly string[]; readonly drop?: readonly string[] };
  readonly seccompProfile?: { readonly type?: string };
  readonly seLinuxOptions?: { readonly type?: string; readonly user?: string; readonly role?: string };
  readonly appArmorProfile?: { readonly type?: string };
  readonly sysctls?: readonly unknown[];
}

interface Container {
  readonly name: string;
  readonly securityContext?: SecurityContext;
  readonly ports?: readonly { readonly hostPort?: number }[];
}

/** The parts of a pod's spec that the standards speak of. */
export interface PodSpec {
  readonly hostNetwork?: boolean;
  readonly hostPID?: boolean;
  readonly hostIPC?: boolean;
  readonly securityContext?: SecurityContext;
  readonly containers: readonly Container[];
  readonly initContainers?: readonly Container[];
  readonly volumes?: readonly Readonly<Record<string, unknown>>[];
}

const BASELINE_CAPABILITIES = new Set([
  "AUDIT_WRITE",
  "CHOWN",
  "DAC_OVERRIDE",
  "FOWNER",
  "FSETID",
  "KILL",
  "MKNOD",
  "NET_BIND_SERVICE",
  "SETFCAP",
  "SETGID",
  "SETPCAP",
  "SETUID",
  "SYS_CHROOT",
]);
const SELINUX_TYPES = new Set(["", "container_t", "container_init_t", "container_kvm_t", "container_engine_t"]);
const RESTRICTED_VOLUMES = new Set([
  "configMap",
  "csi",
  "downwardAPI",
  "emptyDir",
  "ephemeral",
  "persistentVolumeClaim",
  "projected",
  "secret",
]);

/** Every control that the pod breaks; none means that it is admitted at the level "restricted". */
export function breaches(pod: PodSpec): readonly Breach[] {
  const containers = [...pod.initContainers ?? [], ...pod.containers];
  return [...podBreaches(pod), ...containers.flatMap((one) => containerBreaches(one, pod.securityContext ?? {}))];
}

function podBreaches(pod: PodSpec): Breach[] {
  const found: Breach[] = [];
  for (const name of ["hostNetwork", "hostPID", "hostIPC"] as const) {
    if (pod[name] === true) found.push({ level: "baseline", control: "Host Namespaces", because: name });
  }
  if ((pod.securityContext?.sysctls ?? []).length > 0) {
    found.push({ level: "baseline", control: "Sysctls", because: "securityContext.sysctls" });
  }
  for (const { name, ...source } of pod.volumes ?? []) {
    const kind = Object.keys(source)[0] ?? "";
    if (kind === "hostPath") {
      found.push({ level: "baseline", control: "HostPath Volumes", because: `volume ${String(name)}` });
    } else if (!RESTRICTED_VOLUMES.has(kind)) {
      found.push({ level: "restricted", control: "Volume Types", because: `volume ${String(name)} is a ${kind}` });
    }
  }
  return found;
}

function containerBreaches(container: Container, pod: SecurityContext): Breach[] {
  const own = container.securityContext ?? {};
  const found: Breach[] = [];
  const breach = (level: Breach["level"], control: string, because: string) =>
    found.push({ level, control, because: `${container.name}: ${because}` });
  const add = own.capabilities?.add ?? [];
  const seccomp = own.seccompProfile?.type ?? pod.seccompProfile?.type;
  const selinux = own.seLinuxOptions ?? pod.seLinuxOptions ?? {};

  if (own.privileged === true) breach("baseline", "Privileged Containers", "privileged");
  const strange = add.filter((name) => !BASELINE_CAPABILITIES.has(name));
  if (strange.length > 0) breach("baseline", "Capabilities", `adds ${strange.join(", ")}`);
  if ((container.ports ?? []).some((port) => (port.hostPort ?? 0) !== 0)) breach("baseline", "Host Ports", "hostPort");
  if ((own.appArmorProfile ?? pod.appArmorProfile)?.type === "Unconfined") breach("baseline", "AppArmor", "Unconfined");
  if (!SELINUX_TYPES.has(selinux.type ?? "")) breach("baseline", "SELinux", `type ${selinux.type}`);
  if ((selinux.user ?? "") !== "" || (selinux.role ?? "") !== "") breach("baseline", "SELinux", "user or role is set");
  if (!["", "Default"].includes(own.procMount ?? "")) breach("baseline", "/proc Mount Type", own.procMount ?? "");
  if (seccomp === "Unconfined") breach("baseline", "Seccomp", "Unconfined");

  if (own.allowPrivilegeEscalation !== false) breach("restricted", "Privilege Escalation", "is not forbidden");
  if ((own.runAsNonRoot ?? pod.runAsNonRoot) !== true) breach("restricted", "Running as Non-root", "may be root");
  if ((own.runAsUser ?? pod.runAsUser) === 0) breach("restricted", "Running as Non-root user", "runAsUser 0");
  if (seccomp !== "RuntimeDefault" && seccomp !== "Localhost") breach("restricted", "Seccomp", "no profile");
  if (!(own.capabilities?.drop ?? []).includes("ALL")) breach("restricted", "Capabilities", "does not drop ALL");
  const kept = add.filter((name) => name !== "NET_BIND_SERVICE");
  if (kept.length > 0) breach("restricted", "Capabilities", `adds ${kept.join(", ")}`);
  return found;
}
