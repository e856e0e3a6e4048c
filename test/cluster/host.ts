/**
 * The machine that the situations play on: four RoCE adapters, two on each of two NUMA nodes, the first two of them below
 * one PCIe root.
 *
 * @module
 */
import type { HcaDescription, HostDescription } from "../../sim/mod.ts";

export const RESOURCE = "tencent.com/rdma";

/** The name of an adapter's net device. */
export function netdevOf(hca: string): string {
  return `ens${Number(hca.replace("mlx5_", "")) + 1}f0np0`;
}

function adapter(number: number): HcaDescription {
  return {
    name: `mlx5_${number}`,
    vendor: "15b3",
    device: "101b",
    driver: "mlx5_core",
    nodeGuid: `0c42:a103:0000:0${number + 1}00`,
    pci: `0000:${3 + number}b:00.0`,
    ...number < 2 ? { bridges: ["pci0000:3a", `0000:3a:0${number}.0`] } : {},
    numaNode: number < 2 ? 0 : 1,
    netdevs: [{ name: netdevOf(`mlx5_${number}`), ipv4: `192.168.${number}.1` }],
    ports: [{ linkLayer: "Ethernet" }],
  };
}

export const HOST: HostDescription = { hcas: [0, 1, 2, 3].map(adapter) };
export const HCAS = HOST.hcas.map(({ name }) => name);
