/**
 * Checks of /dev/infiniband, whose nodes user space opens.
 *
 * @module
 */
import { counted } from "../text/counted.ts";
import type { Hca } from "../hca/types.ts";
import type { Facts } from "./facts.ts";
import { type Finding, ok, problem, warning } from "./finding.ts";

/**
 * Checks uverbs nodes: listed in sysfs, present in /dev, with the device number of sysfs, and accessible without root.
 */
export function nodes(facts: Facts): Finding[] {
  const hcas = facts.inventory.snapshot.hcas.filter((hca) => hca.subdeviceOf === null);
  if (hcas.length === 0) return [];
  const findings = [...withoutEntry(facts), ...withoutNode(facts), ...wrongNode(facts), ...closedNode(facts)];
  return findings.length > 0 ? findings : [ok("uverbs-node", `${counted(hcas.length, "uverbs node")}, all in place`)];
}

function withoutEntry({ inventory, modules }: Facts): Finding[] {
  const without = inventory.snapshot.hcas.filter((hca) => hca.uverbs === null && hca.subdeviceOf === null);
  if (without.length === 0) return [];
  return [problem(
    "uverbs",
    `no uverbs entry in sysfs for ${names(without)}`,
    "user space can only use an HCA through its uverbs node; its device stays Unhealthy",
    modules.includes("ib_uverbs") ? "see dmesg: the driver registered without user space access" : "modprobe ib_uverbs",
  )];
}

function withoutNode({ inventory, devRoot, devDirectory, refused }: Facts): Finding[] {
  const absent = inventory.snapshot.hcas.filter((hca) =>
    hca.uverbs?.present === false && hca.uverbs.stale === undefined
  );
  if (absent.length === 0 || refused.includes(devRoot)) return [];
  const paths = absent.map((hca) => `${devRoot}/infiniband/${hca.uverbs!.name}`).join(", ");
  return [problem(
    "uverbs-node",
    `device nodes are missing: ${paths}`,
    "a container cannot start with a node that the host does not have",
    devDirectory
      ? "check that udev runs on the host (udevadm trigger --subsystem-match=infiniband_verbs)"
      : `${devRoot}/infiniband does not exist: mount the host's /dev into the container (--dev-root), or start udev`,
  )];
}

function wrongNode(facts: Facts): Finding[] {
  return present(facts).flatMap(({ path, file, dev }) => {
    const stale = file.kind === "character" && dev !== null && file.dev !== dev;
    // The nodes of a simulated host are empty files.
    if (!stale && (file.kind === "character" || (file.kind === "other" && !facts.realMachine))) return [];
    return [problem(
      "uverbs-node",
      stale
        ? `${path} is device ${file.dev}, but sysfs has ${dev}`
        : `${path} is ${file.kind === "directory" ? "a directory" : "not a character device"}`,
      "a pod that gets it opens another device, or none",
      file.kind === "directory"
        ? "a container runtime created it for a mount of a missing file: rmdir it, then udevadm trigger " +
          "--subsystem-match=infiniband_verbs"
        : "the file is stale: remove it, then udevadm trigger --subsystem-match=infiniband_verbs; " +
          "in a container mount the host's /dev instead of a copy",
    )];
  });
}

function closedNode(facts: Facts): Finding[] {
  return present(facts).filter(({ file }) => file.kind === "character" && (file.mode & 0o666) !== 0o666).map((
    { path, file },
  ) =>
    warning(
      "uverbs-mode",
      `${path} has mode ${file.mode.toString(8).padStart(4, "0")}`,
      "the runtime gives the pod's node the same mode: containers that are not root cannot open it",
      `chmod 0666 ${path}, and find the udev rule that changes the kernel's default (grep -r uverbs /etc/udev/rules.d)`,
    )
  );
}

function present({ inventory, devRoot, nodes }: Facts) {
  return inventory.snapshot.hcas.flatMap((hca) => {
    const file = hca.uverbs === null ? undefined : nodes.get(hca.uverbs.name);
    if (file === undefined) return [];
    return [{ path: `${devRoot}/infiniband/${hca.uverbs!.name}`, file, dev: hca.uverbs!.dev }];
  });
}

/** Only InfiniBand needs umad in pods (subnet tools); RoCE ports have it without use, iWARP ports do not have it. */
export function mads({ inventory, modules }: Facts): Finding[] {
  if (modules.includes("ib_umad") || !inventory.specs.some((spec) => spec.expose.umad)) return [];
  const without = inventory.snapshot.hcas.filter((hca) =>
    hca.uverbs?.present && hca.ports.some((port) => port.linkLayer === "InfiniBand") &&
    hca.ports.every((port) => port.umad === null)
  );
  if (without.length === 0) return [];
  return [warning(
    "umad",
    `the InfiniBand ports of ${names(without)} have no umad node`,
    "ibstat, perfquery and subnet managers do not work in pods; verbs do",
    "modprobe ib_umad",
  )];
}

/** EFA has no connection manager, so a missing rdma_cm is not a fault on a machine with EFA only. */
export function connectionManager({ inventory, modules, devRoot, refused }: Facts): Finding[] {
  const { hcas, rdmaCm } = inventory.snapshot;
  const path = `${devRoot}/infiniband/rdma_cm`;
  if (rdmaCm) return [ok("rdma-cm", `${path} exists`)];
  const wanted = inventory.specs.some((spec) => spec.expose.rdmaCm) && hcas.some((hca) => hca.transport !== "EFA");
  if (!wanted || refused.includes(devRoot)) return [];
  return [warning(
    "rdma-cm",
    `${path} does not exist`,
    "programs that connect through the RDMA connection manager (NVMe-oF, many MPIs) fail; others work",
    modules.includes("rdma_ucm") ? "the module is loaded: see whether udev runs on the host" : "modprobe rdma_ucm",
  )];
}

function names(hcas: readonly Hca[]): string {
  return hcas.map((hca) => hca.name).join(", ");
}
