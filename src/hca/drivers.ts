/**
 * Table of the drivers of RDMA adapters: the PCI driver that each RDMA driver sits on, the libibverbs provider for it,
 * and the kernel ABI versions that the provider supports. Selectors and the doctor use it. A driver that is not in the
 * table is "not checked", never "ok".
 *
 * RDMA drivers: kernel `drivers/infiniband/hw/`. The PCI function's `driver` link does not name the RDMA driver, and
 * one RDMA driver can sit on several PCI drivers (irdma). Providers: `match_min_abi_version` and
 * `match_max_abi_version` in rdma-core's `providers/<name>/`, version 44, unchanged up to 64; the kernel reports its
 * version in `class/infiniband_verbs/uverbsN/abi_version`.
 *
 * @module
 */
import type { Hca, NodeType } from "./types.ts";

/** A provider library. */
export interface Provider {
  /** File in libibverbs' directory: lib<name>-rdmav34.so. */
  readonly name: string;
  /** Null when the supported versions are not known. */
  readonly abi: readonly [least: number, most: number] | null;
}

/** Facts about a PCI driver, or about a software HCA. */
export interface Driver {
  /** Names that operators use for the RDMA driver: the kernel module's. */
  readonly rdma: readonly string[];
  /** Null when rdma-core has no provider, or this table does not know one. */
  readonly provider: Provider | null;
}

const IRDMA: Driver = { rdma: ["irdma"], provider: { name: "irdma", abi: [0, 5] } };

/** By PCI driver. */
const BY_DRIVER: Readonly<Record<string, Driver>> = {
  mlx5_core: { rdma: ["mlx5_ib"], provider: { name: "mlx5", abi: [1, 1] } },
  mlx4_core: { rdma: ["mlx4_ib"], provider: { name: "mlx4", abi: [2, 4] } },
  bnxt_en: { rdma: ["bnxt_re"], provider: { name: "bnxt_re", abi: [1, 1] } },
  bng_en: { rdma: ["bng_re"], provider: null },
  efa: { rdma: ["efa"], provider: { name: "efa", abi: [1, 1] } },
  ice: IRDMA,
  iavf: IRDMA,
  idpf: IRDMA,
  i40e: { ...IRDMA, rdma: ["irdma", "i40iw"] },
  hns3: { rdma: ["hns_roce_hw_v2"], provider: { name: "hns", abi: [0, Infinity] } },
  erdma: { rdma: ["erdma"], provider: { name: "erdma", abi: [0, 1] } },
  mana: { rdma: ["mana_ib"], provider: { name: "mana", abi: [1, 1] } },
  qede: { rdma: ["qedr"], provider: { name: "qedr", abi: [8, 8] } },
  cxgb4: { rdma: ["iw_cxgb4"], provider: { name: "cxgb4", abi: [0, Infinity] } },
  be2net: { rdma: ["ocrdma"], provider: { name: "ocrdma", abi: [2, 2] } },
  vmw_pvrdma: { rdma: ["vmw_pvrdma"], provider: { name: "vmw_pvrdma", abi: [3, 3] } },
  ib_mthca: { rdma: ["ib_mthca"], provider: { name: "mthca", abi: [0, 1] } },
  hfi1: { rdma: ["hfi1"], provider: { name: "hfi1verbs", abi: [0, Infinity] } },
  ib_qib: { rdma: ["ib_qib"], provider: { name: "ipathverbs", abi: [0, Infinity] } },
  // Since rdma-core 61.
  ionic: { rdma: ["ionic_rdma"], provider: { name: "ionic", abi: [1, 1] } },
  enic: { rdma: ["usnic_verbs"], provider: null },
};

/** Software HCAs have no PCI driver. Their names are free; soft-RoCE is a CA, soft-iWARP an RNIC. */
const SOFTWARE: Readonly<Partial<Record<NodeType, Driver>>> = {
  CA: { rdma: ["rdma_rxe"], provider: { name: "rxe", abi: [1, 2] } },
  RNIC: { rdma: ["siw"], provider: { name: "siw", abi: [1, 1] } },
};

/** The table entry for the HCA's driver; null when there is none. */
export function driverOf(hca: Hca): Driver | null {
  if (hca.kind === "virtual") return SOFTWARE[hca.nodeType] ?? null;
  const name = hca.pci?.driver ?? null;
  return name !== null && Object.hasOwn(BY_DRIVER, name) ? BY_DRIVER[name]! : null;
}

/** All names of the HCA's driver: the PCI driver and the RDMA drivers on it. */
export function driverNames(hca: Hca): readonly string[] {
  const pci = hca.kind === "virtual" ? [] : hca.pci?.driver ?? [];
  return [...new Set([pci, driverOf(hca)?.rdma ?? []].flat())];
}

/** Names of the drivers of software HCAs. */
export function softwareDrivers(): readonly string[] {
  return Object.values(SOFTWARE).flatMap(({ rdma }) => rdma);
}

/** All providers in the table. */
export function providerNames(): readonly string[] {
  const all = [...Object.values(BY_DRIVER), ...Object.values(SOFTWARE)];
  return [...new Set(all.flatMap(({ provider }) => provider?.name ?? []))];
}
