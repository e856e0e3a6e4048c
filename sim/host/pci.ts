/**
 * PCI addresses, and the modules of drivers. Pure.
 *
 * @module
 */

/** Bus, device and function of "0000:3b:00.2" as a 16-bit number, as used for SR-IOV offsets. */
export function routingId(address: string): number {
  const match = /^[0-9a-f]{4,8}:([0-9a-f]{2}):([0-9a-f]{2})\.([0-7])$/.exec(address);
  if (match === null) {
    throw new RangeError(`Cannot use "${address}" as a PCI address: it must look like 0000:3b:00.0, in lower case`);
  }
  return (parseInt(match[1] ?? "0", 16) << 8) | (parseInt(match[2] ?? "0", 16) << 3) | Number(match[3]);
}

/** The address with routing ID `id` in the domain of `pf`. */
export function vfAddress(pf: string, id: number): string {
  const hex = (value: number) => value.toString(16).padStart(2, "0");
  return `${pf.slice(0, pf.indexOf(":"))}:${hex(id >> 8)}:${hex((id >> 3) & 31)}.${id & 7}`;
}

/** A root complex and a root port on the previous bus: ["pci0000:3a", "0000:3a:00.0"] for 0000:3b:00.0. */
export function defaultBridges(address: string): readonly string[] {
  const bus = Math.max(0, (routingId(address) >> 8) - 1).toString(16).padStart(2, "0");
  const domain = address.slice(0, address.indexOf(":"));
  return [`pci${domain}:${bus}`, `${domain}:${bus}:00.0`];
}

/** Modules loaded on a host with these PCI drivers, including their RDMA drivers. */
export function modulesOf(drivers: readonly string[]): readonly string[] {
  const rdma: Readonly<Record<string, string>> = {
    mlx5_core: "mlx5_ib",
    mlx4_core: "mlx4_ib",
    ice: "irdma",
    bnxt_en: "bnxt_re",
  };
  const own = drivers.flatMap((driver) => [driver, rdma[driver] ?? driver]);
  return [...new Set(["ib_core", "ib_uverbs", "ib_umad", "ib_cm", "rdma_cm", ...own])];
}
