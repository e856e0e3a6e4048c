/**
 * libibverbs' provider libraries: which one drives which adapter, and which kernel ABI versions it covers.
 *
 * Facts from rdma-core 44, and unchanged up to 64: every provider states its range in `match_min_abi_version` and `match_max_abi_version`
 * (providers/<name>/); the kernel tells its own in `class/infiniband_verbs/uverbsN/abi_version`.
 *
 * @module
 */
import type { Hca } from "../hca/types.ts";

/** A provider library. */
export interface Provider {
  /** File in libibverbs' directory: lib<name>-rdmav34.so. */
  readonly name: string;
  readonly abi: readonly [least: number, most: number];
}

/** By PCI driver; software HCAs by the start of their name, since they have no driver link. */
const BY_DRIVER: Readonly<Record<string, Provider>> = {
  mlx5_core: { name: "mlx5", abi: [1, 1] },
  mlx4_core: { name: "mlx4", abi: [2, 4] },
  bnxt_en: { name: "bnxt_re", abi: [1, 1] },
  efa: { name: "efa", abi: [1, 1] },
  ice: { name: "irdma", abi: [0, 5] },
  i40e: { name: "irdma", abi: [0, 5] },
  idpf: { name: "irdma", abi: [0, 5] },
  hns3: { name: "hns", abi: [0, Infinity] },
  erdma: { name: "erdma", abi: [0, 1] },
  mana: { name: "mana", abi: [1, 1] },
  qede: { name: "qedr", abi: [8, 8] },
  cxgb4: { name: "cxgb4", abi: [0, Infinity] },
  be2net: { name: "ocrdma", abi: [2, 2] },
  vmw_pvrdma: { name: "vmw_pvrdma", abi: [3, 3] },
  ib_mthca: { name: "mthca", abi: [0, 1] },
  hfi1: { name: "hfi1verbs", abi: [0, Infinity] },
  ib_qib: { name: "ipathverbs", abi: [0, Infinity] },
  // Since rdma-core 61.
  ionic: { name: "ionic", abi: [1, 1] },
};
const BY_NAME: readonly [RegExp, Provider][] = [
  [/^rxe/, { name: "rxe", abi: [1, 2] }],
  [/^siw/, { name: "siw", abi: [1, 1] }],
];

/** The provider that an HCA needs; null for hardware that this table does not know. */
export function providerOf(hca: Hca): Provider | null {
  const driver = hca.pci?.driver ?? null;
  if (driver !== null) return BY_DRIVER[driver] ?? null;
  return BY_NAME.find(([pattern]) => pattern.test(hca.name))?.[1] ?? null;
}

/** Whether the directory's files hold this provider, whatever its library ABI suffix ("libmlx5-rdmav34.so"). */
export function hasProvider(files: readonly string[], name: string): boolean {
  return files.some((file) => file.startsWith(`lib${name}-rdmav`) && file.endsWith(".so"));
}

/** Whether /etc/libibverbs.d makes libibverbs load it: "mlx5.driver". */
export function isConfigured(files: readonly string[], name: string): boolean {
  return files.includes(`${name}.driver`);
}

/** Every provider of the table. */
export function providerNames(): readonly string[] {
  return [
    ...new Set([...Object.values(BY_DRIVER), ...BY_NAME.map(([, provider]) => provider)].map(({ name }) => name)),
  ];
}
