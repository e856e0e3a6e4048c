/**
 * Checks of the kernel: whether RDMA is loaded, and whether there are adapters.
 *
 * @module
 */
import { counted } from "../text/counted.ts";
import type { Facts } from "./facts.ts";
import { type Finding, ok, problem, warning } from "./finding.ts";

export function modules({ modules, inventory, sysfsRoot, refused }: Facts): Finding[] {
  if (refused.includes(sysfsRoot)) return [];
  if (modules.includes("ib_core") || inventory.snapshot.hcas.length > 0) {
    return [ok("rdma-modules", "RDMA is loaded (ib_core)")];
  }
  return [problem(
    "rdma-modules",
    `no RDMA module is loaded (${sysfsRoot}/module has no ib_core)`,
    "without a driver the machine has no HCAs, regardless of its hardware",
    "load the adapter's driver: modprobe mlx5_ib (Mellanox/NVIDIA), irdma (Intel), bnxt_re (Broadcom), efa (AWS); " +
      "if it is loaded and this is a container, mount the host's /sys",
  )];
}

export function hcas({ inventory, modules }: Facts): Finding[] {
  const { hcas, inPodNetns, unreadable } = inventory.snapshot;
  const bad = unreadable.map(({ name, reason }) =>
    warning(
      "hca-unreadable",
      `${name} cannot be read: ${reason}`,
      "it is not offered",
      "run doctor again; if it persists, see dmesg",
    )
  );
  const all = [...hcas, ...inPodNetns].filter((hca) => hca.subdeviceOf === null);
  const sub = hcas.filter((hca) => hca.subdeviceOf !== null).map((hca) => `${hca.name} of ${hca.subdeviceOf}`);
  if (all.length > 0) {
    const besides = sub.length === 0 ? "" : `; SMI sub-devices, which are not adapters: ${sub.join(", ")}`;
    return [ok("hcas", `${counted(all.length, "HCA")}: ${all.map((hca) => hca.name).join(", ")}${besides}`), ...bad];
  }
  if (!modules.includes("ib_core")) return bad; // already reported
  return [
    problem(
      "hcas",
      "RDMA is loaded, but there is no HCA",
      "nothing can be offered until one appears; the plugin will detect it",
      "see dmesg for the adapter's driver; for RoCE adapters the RDMA driver is a separate module (mlx5_ib, irdma, bnxt_re)",
    ),
    ...bad,
  ];
}
