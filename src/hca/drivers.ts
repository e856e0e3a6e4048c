/**
 * The drivers of RDMA adapters, in one table: which RDMA driver sits on which PCI driver, which provider library of
 * libibverbs drives it, and which kernel ABI versions that provider covers. Selectors match by it and the doctor judges
 * by it; a driver that is not in it is "not checked", never "ok".
 *
 * RDMA drivers: kernel `drivers/infiniband/hw/`. The RDMA driver of a function is not in the PCI function's `driver`
 * link, and one RDMA driver can sit on several PCI drivers (irdma). Providers: `match_min_abi_version` and
 * `match_max_abi_version` in rdma-core's `providers/<name>/`, 44 and unchanged up to 64; the kernel tells its own version
 * in `class/infiniband_verbs/uverbsN/abi_version`.
 *
 * @module
 */
import type { Hca } from "./types.ts";

/** A provider library. */
export interface Provider {
  /** File in libibverbs' directory: lib<name>-rdmav34.so. */
  readonly name: string;
  /** Null when it is not known which versions it covers. */
  readonly abi: readonly [least: number, most: number] | null;
}

/** What is known of a PCI driver, or of a software HCA. */
export interface Driver {
  /** Names that operators use for the RDMA driver: the kernel module's. */
  readonly rdma: readonly string[];
  /** Null when rdma-core has none, or none that this table knows of. */
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

/** Software HCAs have no PCI driver; by the start of their name. */
const BY_NAME: readonly [RegExp, Driver][] = [
  [/^rxe/, { rdma: ["rdma_rxe"], provider: { name: "rxe", abi: [1, 2] } }],
  [/^siw/, { rdma: ["siw"], provider: { name: "siw", abi: [1, 1] } }],
];

/** What is known of the HCA's driver; null when the table has no such driver. */
export function driverOf(hca: Hca): Driver | null {
  if (hca.kind === "virtual") return BY_NAME.find(([pattern]) => pattern.test(hca.name))?.[1] ?? null;
  const name = hca.pci?.driver ?? null;
  return name !== null && Object.hasOwn(BY_DRIVER, name) ? BY_DRIVER[name]! : null;
}

/** Every name that the HCA's driver goes by: the PCI function's, and the RDMA driver's on it. */
export function driverNames(hca: Hca): readonly string[] {
  const pci = hca.kind === "virtual" ? [] : hca.pci?.driver ?? [];
  return [...new Set([pci, driverOf(hca)?.rdma ?? []].flat())];
}

/** Every provider of the table. */
export function providerNames(): readonly string[] {
  const all = [...Object.values(BY_DRIVER), ...BY_NAME.map(([, driver]) => driver)];
  return [...new Set(all.flatMap(({ provider }) => provider?.name ?? []))];
}
