/**
 * Class devices of PCI functions in a fake host's trees: Omni-Path's hfi1_N, Slingshot's cxiN.
 *
 * @module
 */
import { mkdirSync, realpathSync, rmSync, symlinkSync, writeFileSync } from "node:fs";
import { dirname, join, relative } from "node:path";
import type { FakeHost, HcaDescription, HostDescription } from "../../sim/mod.ts";

export interface ClassDevice {
  readonly class: string;
  readonly name: string;
  /** PCI address of its parent; null for a class device without one. */
  readonly parent: string | null;
  readonly dev: string;
  /** Where udev makes the node, if the uevent says so. */
  readonly devname?: string;
}

/** Makes the device in sysfs, and its node in /dev. */
export function addClassDevice(host: FakeHost, device: ClassDevice): void {
  const base = device.parent === null
    ? join(host.sysfsRoot, "devices/virtual")
    : realpathSync(join(host.sysfsRoot, "bus/pci/devices", device.parent));
  const entry = join(base, device.class, device.name);
  const link = join(host.sysfsRoot, "class", device.class, device.name);
  mkdirSync(entry, { recursive: true });
  mkdirSync(dirname(link), { recursive: true });
  writeFileSync(join(entry, "dev"), `${device.dev}\n`);
  writeFileSync(join(entry, "uevent"), device.devname === undefined ? "" : `MAJOR=1\nDEVNAME=${device.devname}\n`);
  rmSync(link, { force: true });
  symlinkSync(relative(dirname(link), entry), link);
  addNode(host, device.devname ?? device.name);
}

/** Makes an empty file for a node, relative to /dev. */
export function addNode(host: FakeHost, name: string): void {
  mkdirSync(dirname(join(host.devRoot, name)), { recursive: true });
  writeFileSync(join(host.devRoot, name), "");
}

export function removeNode(host: FakeHost, name: string): void {
  rmSync(join(host.devRoot, name));
}

function adapter(number: number, pci: string, over: Partial<HcaDescription>): HcaDescription {
  return {
    name: `hfi1_${number}`,
    vendor: "434e",
    device: "0001",
    driver: "hfi1",
    nodeGuid: `0011:7501:0109:6c9${number}`,
    pci,
    numaNode: number,
    netdevs: [{ name: `ib${number}`, type: "ipoib" }],
    ports: [{ linkLayer: "InfiniBand" }],
    ...over,
  };
}

/** Two Omni-Path adapters; their class devices are added with {@link addHfis}. */
export const OMNI_PATH: HostDescription = {
  hcas: [adapter(0, "0000:3d:00.0", {}), adapter(1, "0000:af:00.0", {})],
};

/** The nodes cross the HCAs' numbers: only sysfs tells whose is whose. */
export function addHfis(host: FakeHost): void {
  addClassDevice(host, { class: "hfi1_user", name: "hfi1_1", parent: "0000:3d:00.0", dev: "243:1" });
  addClassDevice(host, { class: "hfi1_user", name: "hfi1_0", parent: "0000:af:00.0", dev: "243:0" });
}
