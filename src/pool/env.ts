/**
 * Environment variables for a container that is allocated HCAs. Pure.
 *
 * @module
 */
import type { Hca } from "../hca/types.ts";
import type { NodeGrant } from "./allocate.ts";
import { carriesRdma } from "./match.ts";
import { selectedPorts } from "./ports.ts";
import type { ResourceSpec } from "./spec.ts";

/**
 * Returns the variables for one container.
 *
 * The RDMA_… variables are set twice: `RDMA_HCAS` and `RDMA_HCAS_<RESOURCE>`. The kubelet merges the answers of all
 * resources of a container into one environment, so with two resources a short name holds the value of one of them, and
 * the long names hold all.
 *
 * - `RDMA_HCAS` mlx5_0,mlx5_1 · `RDMA_PCI_ADDRESSES` · `RDMA_NETDEVS` · `RDMA_UVERBS` (paths), comma-separated;
 *   the first two have the same order, with an empty entry for an HCA without a PCI function
 * - `NCCL_IB_HCA` "=mlx5_0:1,mlx5_1:1": `=` asks NCCL for exact names
 * - `UCX_NET_DEVICES` "mlx5_0:1,mlx5_1:1"
 * - `PCIDEVICE_<RESOURCE>` and `PCIDEVICE_<RESOURCE>_INFO` in the form of the SR-IOV network device plugin
 */
export function environment(
  spec: ResourceSpec,
  ids: readonly string[],
  hcas: readonly Hca[],
  nodes: readonly NodeGrant[],
): Readonly<Record<string, string>> {
  const env: Record<string, string> = {};
  const suffix = variableName(spec.name);
  if (spec.env.rdma) {
    const values = {
      RDMA_HCAS: hcas.map((hca) => hca.name),
      RDMA_PCI_ADDRESSES: hcas.map((hca) => hca.pci?.address ?? ""),
      RDMA_NETDEVS: [...new Set(hcas.flatMap((hca) => netdevsOf(spec, hca)))],
      RDMA_UVERBS: hcas.map((hca) => `/dev/infiniband/${hca.uverbs?.name}`),
    };
    for (const [name, list] of Object.entries(values)) env[name] = env[`${name}_${suffix}`] = list.join(",");
  }
  const ports = hcas.flatMap((hca) => usablePorts(spec, hca)).join(",");
  if (spec.env.nccl && ports !== "") env.NCCL_IB_HCA = `=${ports}`;
  if (spec.env.ucx && ports !== "") env.UCX_NET_DEVICES = ports;
  if (spec.env.pcidevice) {
    env[`PCIDEVICE_${suffix}`] = [...new Set(ids)].join(",");
    env[`PCIDEVICE_${suffix}_INFO`] = JSON.stringify(pcideviceInfo(spec, ids, hcas, nodes));
  }
  return { ...env, ...spec.env.extra };
}

/** "intel.com/sriov-rdma" → "INTEL_COM_SRIOV_RDMA". */
export function variableName(resource: string): string {
  return resource.toUpperCase().replace(/[^A-Z0-9]/g, "_");
}

/** Net devices of the ports that the resource selects; all net devices of the HCA when it selects every port. */
function netdevsOf(spec: ResourceSpec, hca: Hca): readonly string[] {
  const ports = selectedPorts(spec, hca);
  const others = hca.ports.filter((port) => carriesRdma(port) && !ports.includes(port));
  return others.length === 0
    ? hca.netdevs
    : hca.netdevs.filter((name) =>
      ports.some((port) => port.netdevs.includes(name)) || !others.some((port) => port.netdevs.includes(name))
    );
}

/**
 * "mlx5_0:1" for each selected port that is up, or for the first selected port when none is (it may come up while the
 * pod runs). Ports that carry no RDMA are never included.
 */
function usablePorts(spec: ResourceSpec, hca: Hca): string[] {
  const ports = selectedPorts(spec, hca).filter(carriesRdma);
  const up = ports.filter((port) => port.state === "ACTIVE");
  return (up.length > 0 ? up : ports.slice(0, 1)).map((port) => `${hca.name}:${port.number}`);
}

/**
 * Value of PCIDEVICE_…_INFO: by device ID, the entries of the SR-IOV plugin's info providers (generic, rdma,
 * extraInfo).
 */
function pcideviceInfo(
  spec: ResourceSpec,
  ids: readonly string[],
  hcas: readonly Hca[],
  nodes: readonly NodeGrant[],
): Record<string, Record<string, Record<string, string>>> {
  const info: Record<string, Record<string, Record<string, string>>> = {};
  const hasRdmaCm = nodes.some((node) => node.containerPath.endsWith("/rdma_cm"));
  for (const id of new Set(ids)) {
    const rdma: Record<string, string> = {};
    for (const hca of hcas.filter((one) => [one.name, one.sfDevice ?? one.pci?.address].includes(id))) {
      rdma.rdma_dev = hca.name;
      rdma.uverbs = `/dev/infiniband/${hca.uverbs?.name}`;
      for (const port of hca.ports) {
        if (spec.expose.umad && port.umad !== null) rdma.umad = `/dev/infiniband/${port.umad}`;
        if (spec.expose.issm && port.issm !== null) rdma.issm = `/dev/infiniband/${port.issm}`;
      }
    }
    if (hasRdmaCm) rdma.rdma_cm = "/dev/infiniband/rdma_cm";
    const extra = { ...spec.env.pcideviceInfo["*"], ...spec.env.pcideviceInfo[id] };
    info[id] = {
      generic: { deviceID: id },
      rdma,
      ...Object.keys(extra).length > 0 ? { extraInfo: extra } : {},
    };
  }
  return info;
}
