/**
 * Adapters whose net devices are not on the function of the RDMA device. sysfs has no link from one to the other, so
 * both are found as their drivers do it.
 *
 * @module
 */
import { basename, dirname, join } from "node:path";
import { entries, readLine, resolve } from "./files.ts";

/** The facts by which drivers find the net device. */
interface Function {
  readonly driver: string | null;
  /** Directory of the PCI function. */
  readonly dir: string | null;
  readonly nodeGuid: string | null;
}

/** The directory of the device that has the HCA's net devices; null when it is the HCA's own, or not there now. */
export function netdevPeer(sysfs: string, { driver, dir, nodeGuid }: Function): string | null {
  switch (driver) {
    case "vmw_pvrdma": { // drivers/infiniband/hw/vmw_pvrdma/pvrdma_main.c: vmxnet3 on function 0 of the same slot
      const first = dir === null ? null : join(dirname(dir), basename(dir).replace(/\.\d$/, ".0"));
      return first === dir ? null : first;
    }
    case "erdma": // drivers/infiniband/hw/erdma/erdma_main.c: the net device whose hardware address the adapter names
      return withAddress(sysfs, hardwareAddress(nodeGuid));
    default:
      return null;
  }
}

/** The hardware address in an EUI-64, as `addrconf_addr_eui48()` of the kernel puts it there; null for another GUID. */
function hardwareAddress(guid: string | null): string | null {
  const bytes = guid?.replaceAll(":", "").match(/../g) ?? [];
  if (bytes.length !== 8 || bytes[3] !== "ff" || bytes[4] !== "fe") return null;
  const first = (Number.parseInt(bytes[0]!, 16) ^ 2).toString(16).padStart(2, "0");
  return [first, bytes[1], bytes[2], ...bytes.slice(5)].join(":");
}

/** The device that carries the net device with this address; VLANs and the like have it, too, and no device. */
function withAddress(sysfs: string, address: string | null): string | null {
  if (address === null) return null;
  for (const name of entries(`${sysfs}/class/net`) ?? []) {
    const device = resolve(`${sysfs}/class/net/${name}/device`);
    if (device !== null && readLine(`${sysfs}/class/net/${name}/address`)?.toLowerCase() === address) return device;
  }
  return null;
}
