/**
 * The parts of a fake host below RDMA: buses and classes, PCI functions with their bridges and drivers, sub-functions,
 * net devices, modules, device nodes. It handles paths and numbers and knows nothing about HCAs.
 *
 * @module
 */
import { type Directory, TreeWriter } from "./disk.ts";
import { defaultBridges, modulesOf } from "./pci.ts";
import { type LinkFacts, netdevTree, type PciFacts, pciFunctionTree, pciModalias } from "./tree.ts";
import type { HostDescription, NetdevDescription, PlainNic, SubFunction } from "./types.ts";

const BRIDGE: PciFacts = {
  vendor: "8086",
  device: "2030",
  subsystemVendor: "8086",
  subsystemDevice: "0000",
  pciClass: "060400",
  numaNode: -1,
};

/** The devices of the machine; the two trees on disk always match them. */
export class Machine {
  readonly sys: TreeWriter;
  readonly dev: TreeWriter;
  /** Path in sysfs by PCI address. */
  readonly #functions = new Map<string, string>();
  #ifindex = 1;

  constructor(sys: TreeWriter, dev: TreeWriter) {
    this.sys = sys;
    this.dev = dev;
  }

  /** Adds everything that a machine has before its first HCA: buses, classes, modules, network cards. */
  boot(description: HostDescription): void {
    for (const path of ["/class/net", "/class/misc", "/devices/virtual", "/module"]) this.sys.directory(path);
    for (const bus of ["pci", "auxiliary"]) {
      for (const path of ["devices", "drivers"]) this.sys.directory(`/bus/${bus}/${path}`);
    }
    for (const nic of description.plainNics ?? []) this.#plugNic(nic);
    if (description.modules === false) return;
    for (const name of ["infiniband", "infiniband_verbs", "infiniband_mad"]) this.sys.directory(`/class/${name}`);
    this.sys.file("/class/infiniband_verbs/abi_version", "6");
    this.sys.file("/class/infiniband_mad/abi_version", "5");
    for (const name of modulesOf(description.hcas.map((hca) => hca.driver))) {
      this.sys.merge(`/module/${name}`, { initstate: "live", refcnt: "1" });
    }
    // A boolean parameter: Y is shared mode.
    const shared = description.netnsMode !== "exclusive";
    this.sys.merge("/module/ib_core/parameters", { netns_mode: shared ? "Y" : "N" });
  }

  /** A misc device of a module, with its node. */
  plugMisc(name: string, module: string, minor: number, node: string): void {
    const path = `/devices/virtual/misc/${name}`;
    this.sys.merge(`/module/${module}`, { initstate: "live", refcnt: "0" });
    this.sys.tree(path, {
      dev: `10:${minor}`,
      abi_version: name === "rdma_cm" ? "4" : undefined,
      uevent: `MAJOR=10\nMINOR=${minor}\nDEVNAME=${node}`,
      subsystem: { to: "/class/misc" },
    });
    this.sys.link(`/class/misc/${name}`, path);
    this.makeNode(`/${node}`, 0o666);
  }

  unplugMisc(name: string, module: string, node: string): void {
    this.dropNode(`/${node}`);
    this.sys.remove(`/class/misc/${name}`);
    this.sys.remove(`/devices/virtual/misc/${name}`);
    this.sys.remove(`/module/${module}`);
  }

  /** Adds a node. devtmpfs creates a directory with its first node … */
  makeNode(path: string, mode: number): void {
    this.dev.directory(path.slice(0, path.lastIndexOf("/")));
    this.dev.file(path, "", mode);
  }

  /** … and removes it with the last one. */
  dropNode(path: string): void {
    this.dev.remove(path);
    const directory = path.slice(0, path.lastIndexOf("/"));
    if (directory !== "") this.dev.removeIfEmpty(directory);
  }

  /** Path of a PCI function, undefined when there is none at that address. */
  functionAt(address: string): string | undefined {
    return this.#functions.get(address);
  }

  /** Adds a PCI function and the bridges above it that are missing; returns its path. */
  plugFunction(address: string, bridges: readonly string[] | undefined, facts: PciFacts, extra: Directory): string {
    let above = "/devices";
    for (const [depth, bridge] of (bridges ?? defaultBridges(address)).entries()) {
      above += `/${bridge}`;
      // The first is the root complex, which is not a PCI function.
      if (depth === 0 || this.#functions.has(bridge)) continue;
      this.#addFunction(bridge, above, pciFunctionTree({ ...BRIDGE, numaNode: facts.numaNode }));
    }
    return this.#addFunction(address, `${above}/${address}`, { ...pciFunctionTree(facts), ...extra });
  }

  unplugFunction(address: string): void {
    const path = this.#functions.get(address);
    if (path === undefined) return;
    this.sys.remove(`/bus/pci/devices/${address}`);
    this.sys.remove(path);
    this.#functions.delete(address);
  }

  linkDriver(address: string, driver: string): void {
    const path = this.#functions.get(address);
    if (path === undefined) throw new Error(`Cannot bind ${driver}: there is no PCI function ${address}`);
    this.sys.directory(`/bus/pci/drivers/${driver}`);
    this.sys.link(`${path}/driver`, `/bus/pci/drivers/${driver}`);
    this.sys.link(`/bus/pci/drivers/${driver}/${address}`, path);
  }

  unlinkDriver(address: string, driver: string): void {
    this.sys.remove(`/bus/pci/drivers/${driver}/${address}`);
    this.sys.remove(`${this.#functions.get(address)}/driver`);
  }

  plugSubFunction(path: string, sf: SubFunction, driver: string, facts: PciFacts): void {
    const driverPath = `/bus/auxiliary/drivers/${driver}.sf`;
    this.sys.directory(driverPath);
    this.sys.tree(path, {
      sfnum: String(sf.number),
      modalias: sf.pciModalias === false ? undefined : pciModalias(facts),
      subsystem: { to: "/bus/auxiliary" },
      driver: { to: driverPath },
    });
    this.sys.link(`/bus/auxiliary/devices/mlx5_core.sf.${sf.index}`, path);
  }

  unplugSubFunction(path: string, sf: SubFunction): void {
    this.sys.remove(`/bus/auxiliary/devices/mlx5_core.sf.${sf.index}`);
    this.sys.remove(path);
  }

  /** Adds a net device at `path`; an existing one in devices/virtual is left as it is. */
  plugNetdev(
    path: string,
    netdev: NetdevDescription,
    facts: { device: string | null; address: string; link: LinkFacts; master: string | null },
  ): void {
    if (this.sys.has(`/class/net/${netdev.name}`)) {
      if (path.startsWith("/devices/virtual/")) return;
      throw new Error(`Cannot add net device ${netdev.name}: the name is taken`);
    }
    this.sys.tree(path, netdevTree(netdev, { ...facts, ifindex: ++this.#ifindex }));
    this.sys.link(`/class/net/${netdev.name}`, path);
  }

  unplugNetdev(path: string, name: string): void {
    this.sys.remove(`/class/net/${name}`);
    this.sys.remove(path);
    this.sys.removeIfEmpty(path.slice(0, path.lastIndexOf("/")));
  }

  #addFunction(address: string, path: string, content: Directory): string {
    this.sys.tree(path, content);
    this.sys.link(`/bus/pci/devices/${address}`, path);
    this.#functions.set(address, path);
    return path;
  }

  #plugNic(nic: PlainNic): void {
    const { vendor, device, numaNode = -1 } = nic;
    const subsystem = { subsystemVendor: vendor, subsystemDevice: nic.subsystemDevice ?? BRIDGE.subsystemDevice };
    const facts: PciFacts = { ...BRIDGE, vendor, device, ...subsystem, pciClass: "020000", numaNode };
    const path = this.plugFunction(nic.pci, nic.bridges, facts, {});
    this.linkDriver(nic.pci, nic.driver);
    this.plugNetdev(`${path}/net/${nic.name}`, { name: nic.name }, {
      device: path,
      address: `02:00:00:00:00:${(this.#ifindex + 1).toString(16).padStart(2, "0")}`,
      link: { up: true, carrier: "1" },
      master: nic.master ?? null,
    });
  }
}
