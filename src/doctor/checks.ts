/**
 * The checks: from facts to findings. Pure. Each says what is wrong, why it matters, and what mends it; none raises an
 * alarm for what merely is unusual.
 *
 * @module
 */
import type { Hca } from "../hca/types.ts";
import { netnsRemarks } from "../resource/netns.ts";
import type { Facts } from "./facts.ts";
import { type Finding, ok, problem, warning } from "./finding.ts";
import { hasProvider, providerOf } from "./providers.ts";

/** Every check, in the order in which an operator should read them: machine, HCAs, resources, kubelet, limits. */
export function examine(facts: Facts): readonly Finding[] {
  return [
    ...modules(facts),
    ...hcas(facts),
    ...nodes(facts),
    ...providers(facts),
    ...connectionManager(facts),
    ...health(facts),
    ...resources(facts),
    ...netns(facts),
    ...kubelet(facts),
    ...cdi(facts),
    ...limits(facts),
  ];
}

function modules({ modules, survey, sysfsRoot }: Facts): Finding[] {
  if (modules.includes("ib_core") || survey.snapshot.hcas.length > 0) {
    return [ok("rdma-modules", "RDMA is loaded (ib_core)")];
  }
  return [problem(
    "rdma-modules",
    `no RDMA module is loaded (${sysfsRoot}/module has no ib_core)`,
    "without a driver the machine has no HCAs, whatever is in its slots",
    "load the adapter's driver: modprobe mlx5_ib (Mellanox/NVIDIA), irdma (Intel), bnxt_re (Broadcom), efa (AWS); " +
      "if it is loaded and this is a container, mount the host's /sys",
  )];
}

function hcas({ survey, modules }: Facts): Finding[] {
  const { hcas, moved, unreadable } = survey.snapshot;
  const bad = unreadable.map(({ name, reason }) =>
    warning(
      "hca-unreadable",
      `${name} cannot be read: ${reason}`,
      "it is not offered",
      "look again; if it stays, see dmesg",
    )
  );
  if (hcas.length + moved.length > 0) {
    return [ok("hcas", `${hcas.length + moved.length} HCAs: ${names([...hcas, ...moved])}`), ...bad];
  }
  if (!modules.includes("ib_core")) return bad; // said already
  return [
    problem(
      "hcas",
      "RDMA is loaded, but there is no HCA",
      "nothing can be offered until one appears; the plugin notices it by itself",
      "see dmesg for the adapter's driver; for RoCE adapters the RDMA part is a module of its own (mlx5_ib, irdma, bnxt_re)",
    ),
    ...bad,
  ];
}

function nodes({ survey, modules, devRoot, devDirectory }: Facts): Finding[] {
  const { hcas } = survey.snapshot;
  if (hcas.length === 0) return [];
  const without = hcas.filter((hca) => hca.uverbs === null);
  const absent = hcas.filter((hca) => hca.uverbs !== null && !hca.uverbs.present);
  const findings: Finding[] = [];
  if (without.length > 0) {
    findings.push(problem(
      "uverbs",
      `no uverbs entry in sysfs for ${names(without)}`,
      "user space reaches an HCA through its uverbs node only; its device stays Unhealthy",
      modules.includes("ib_uverbs")
        ? "see dmesg: the driver registered without user space access"
        : "modprobe ib_uverbs",
    ));
  }
  if (absent.length > 0) {
    const paths = absent.map((hca) => `${devRoot}/infiniband/${hca.uverbs!.name}`).join(", ");
    findings.push(problem(
      "uverbs-node",
      `device nodes are missing: ${paths}`,
      "a container that is given a node which the host does not have cannot start",
      devDirectory
        ? "see whether udev runs on the host (udevadm trigger --subsystem-match=infiniband_verbs)"
        : `${devRoot}/infiniband is not there: mount the host's /dev into the container (--dev-root), or start udev`,
    ));
  }
  return findings.length > 0 ? findings : [ok("uverbs-node", `${hcas.length} uverbs nodes are there`)];
}

function providers({ survey, providers }: Facts): Finding[] {
  const { hcas, verbs } = survey.snapshot;
  if (hcas.length === 0) return [];
  if (verbs.kind === "no-library" || providers === null) {
    return [warning(
      "provider",
      "libibverbs or its provider libraries are not installed here",
      "the plugin works without them, from sysfs alone; only its second opinion is missing. Pods bring their own",
      "apt-get install libibverbs1 ibverbs-providers, or use the plugin's image",
    )];
  }
  const findings: Finding[] = [];
  for (const hca of hcas) {
    const provider = providerOf(hca);
    if (provider === null) continue;
    if (!hasProvider(providers, provider.name)) {
      findings.push(warning(
        "provider",
        `${hca.name} needs the provider library ${provider.name}, which is not in this image`,
        "libibverbs here does not list it; a pod whose image lacks the library cannot use it either",
        "install ibverbs-providers (or the vendor's rdma-core) in the image that uses the HCA",
      ));
      continue;
    }
    const abi = hca.uverbs?.abiVersion ?? null;
    const [least, most] = provider.abi;
    if (abi !== null && (abi < least || abi > most)) {
      findings.push(problem(
        "provider-abi",
        `the kernel speaks ABI version ${abi} for ${hca.name}, the provider ${provider.name} of rdma-core ${least} to ${most}`,
        "libibverbs hides the HCA, in this image and in every pod with the same library",
        "bring kernel driver and rdma-core to versions that fit: update the image's rdma-core, or the host's driver package",
      ));
    }
  }
  return findings.length > 0 ? findings : [ok("provider", "every HCA has its provider library, with a fitting ABI")];
}

function connectionManager({ survey, modules }: Facts): Finding[] {
  if (survey.snapshot.hcas.length === 0) return [];
  if (survey.snapshot.rdmaCm) return [ok("rdma-cm", "/dev/infiniband/rdma_cm is there")];
  return [warning(
    "rdma-cm",
    "/dev/infiniband/rdma_cm does not exist",
    "programs that connect through the RDMA connection manager (NVMe-oF, many MPIs) cannot; others work",
    modules.includes("rdma_ucm") ? "the module is loaded: see whether udev runs on the host" : "modprobe rdma_ucm",
  )];
}

function health({ survey }: Facts): Finding[] {
  const bad = [...survey.ledger.values()].flatMap(({ spec, standings }) =>
    [...standings.values()].filter((one) => !one.healthy).map((one) => ({ spec, one }))
  );
  // A missing node is a finding of its own already.
  const ports = bad.filter(({ one }) => one.member.hcas.every((hca) => hca.uverbs?.present));
  const findings = ports.map(({ spec, one }) =>
    warning(
      "hca-unhealthy",
      `${one.member.id} of ${spec.name} is Unhealthy: ${one.cause}`,
      "no new pod gets it until that is mended; running ones keep it",
      "see to the cable, the switch port or the subnet manager (ibstat, rdma link, ip link); it recovers by itself",
    )
  );
  const total = [...survey.ledger.values()].reduce((sum, { standings }) => sum + standings.size, 0);
  return findings.length > 0 || bad.length > 0 || total === 0
    ? findings
    : [ok("hca-unhealthy", `all ${total} devices are healthy`)];
}

function resources({ survey }: Facts): Finding[] {
  if (survey.snapshot.hcas.length === 0) return [];
  return [...survey.ledger.values()].map(({ spec, standings }) => {
    if (standings.size > 0) return ok("selects-nothing", `${spec.name} has ${standings.size} HCAs`);
    const reasons = survey.leftOut.filter((one) => one.resource === spec.name).map((one) =>
      `${one.hca}: ${one.reason}`
    );
    const masters = spec.select.some((selector) => selector.masters !== undefined || selector.pfs !== undefined);
    return problem(
      "selects-nothing",
      `${spec.name} selects no HCA (${reasons.join("; ")})`,
      "the node offers none of it, and pods that ask for it stay pending",
      masters
        ? "make the virtual functions (echo N > /sys/class/net/IF/device/sriov_numvfs), or mend the selector"
        : "mend the selector in the configuration; list shows what can be selected by",
    );
  });
}

function netns({ survey }: Facts): Finding[] {
  const { netnsMode, hcas } = survey.snapshot;
  if (hcas.length === 0) return [];
  const remarks = netnsRemarks(survey.specs, netnsMode);
  const told = netnsMode === "unknown" ? "not told, shared by default" : netnsMode;
  if (remarks.length === 0) return [ok("netns-mode", `RDMA net namespace mode: ${told}`)];
  return remarks.map(({ broken, what, why, mend }) => (broken ? problem : warning)("netns-mode", what, why, mend));
}

function kubelet({ kubelet, longPaths, takenNames, selinux }: Facts): Finding[] {
  const { dir, state, socket } = kubelet;
  const findings: Finding[] = longPaths.map((sentence) =>
    problem(
      "socket-path",
      sentence,
      "the kernel refuses longer paths, so the resource cannot be served",
      "use a shorter path",
    )
  );
  if (state !== "writable") {
    findings.push(problem(
      "kubelet-dir",
      `${dir} is ${state === "missing" ? "not there" : state === "no directory" ? "no directory" : "not writable"}`,
      "the plugin puts its socket there for the kubelet to call",
      state === "read-only"
        ? "mount it writable and run as the user that owns it (root); with SELinux give the pod type spc_t or a policy" +
          (selinux === null ? "" : ` (this process runs as ${selinux})`)
        : "mount the kubelet's device-plugins directory, or name it with --kubelet-dir (k3s, microk8s and others have their own)",
    ));
    return findings;
  }
  if (socket === "answers") findings.push(ok("kubelet-down", `the kubelet answers on ${dir}/kubelet.sock`));
  else {
    findings.push(problem(
      "kubelet-down",
      socket === "missing" ? `${dir}/kubelet.sock does not exist` : `nobody answers on ${dir}/kubelet.sock`,
      "nothing can be registered until the kubelet is up; the plugin waits for it by itself",
      "systemctl status kubelet; if it runs, its directory is another one: --kubelet-dir",
    ));
  }
  for (const name of takenNames) {
    findings.push(warning(
      "name-taken",
      `the kubelet has ${name} on record, but nobody serves this plugin's socket for it`,
      "either this plugin is not running, or another one registered the same name and the two will take it from each other",
      "kubectl get pods -A -o wide on this node; stop the other plugin, or give this one another resource name",
    ));
  }
  return findings;
}

function cdi({ survey, cdi }: Facts): Finding[] {
  if (!survey.specs.some((spec) => spec.cdi)) return [];
  // A directory that is not there yet is made by the plugin.
  if (cdi.state === "writable" || cdi.state === "missing") return [ok("cdi-dir", `CDI specs go to ${cdi.dir}`)];
  return [problem(
    "cdi-dir",
    `${cdi.dir} is ${cdi.state === "read-only" ? "not writable" : "no directory"}`,
    "resources with cdi: true cannot be allocated, because the runtime would not find the names",
    "mount /var/run/cdi writable, or name another directory with --cdi-dir",
  )];
}

function limits({ memlock, inotifyInstances }: Facts): Finding[] {
  const findings: Finding[] = [];
  if (memlock !== null && memlock < 1 << 30) {
    findings.push(warning(
      "memlock",
      `locked memory is limited to ${
        Math.round(memlock / 1024)
      } KiB for this process, and for pods of the same runtime by default`,
      "registering memory (ibv_reg_mr) fails with ENOMEM in pods without CAP_IPC_LOCK; a device plugin cannot raise it",
      "set LimitMEMLOCK=infinity for containerd or CRI-O (systemctl edit containerd), or give the pods CAP_IPC_LOCK",
    ));
  } else findings.push(ok("memlock", "locked memory is not limited"));
  if (inotifyInstances !== null && inotifyInstances < 128) {
    findings.push(warning(
      "inotify",
      `fs.inotify.max_user_instances is ${inotifyInstances}`,
      "when it is used up, a kubelet restart is noticed by a poll within a second instead of at once",
      "sysctl fs.inotify.max_user_instances=1024",
    ));
  }
  return findings;
}

function names(hcas: readonly Hca[]): string {
  return hcas.map((hca) => hca.name).join(", ");
}
