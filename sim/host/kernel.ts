/**
 * The kernel of a fake host: its objects, their numbers, and the order in which their entries appear and disappear.
 * Longer changes are generators that yield where a reader may see intermediate states.
 *
 * @module
 */
import type { Directory, TreeWriter } from "./disk.ts";
import { Machine } from "./machine.ts";
import { type HcaObject, madsOf, newHca, pciFacts, type Steps, vfDescription } from "./objects.ts";
import { charDeviceTree, type CharKind, hcaTree, linkOf, macOf, portTree } from "./tree.ts";
import type { HcaDescription, NetdevDescription } from "./types.ts";

/** The objects of the RDMA subsystem; the two trees on disk always match them. */
export class Kernel {
  readonly machine: Machine;
  readonly sys: TreeWriter;
  /** In the order in which they were first probed. */
  readonly hcas: HcaObject[] = [];

  constructor(machine: Machine) {
    this.machine = machine;
    this.sys = machine.sys;
  }

  /** The HCA of this name in the host's or a pod's network namespace. */
  find(name: string): HcaObject | undefined {
    return this.hcas.find((hca) => hca.name === name && hca.where !== "gone") ??
      this.hcas.find((hca) => hca.name === name);
  }

  /** Path of the device that carries the HCA; null for software HCAs. */
  parentOf(hca: HcaObject): string | null {
    const { pci, sf } = hca.description;
    if (pci === null) return null;
    const path = this.machine.functionAt(pci);
    if (path === undefined) throw new Error(`Cannot place ${hca.name}: there is no PCI function ${pci}`);
    const { under } = hca.description.software ?? {};
    return sf !== undefined ? `${path}/mlx5_core.sf.${sf.index}` : under === undefined ? path : `${path}/${under}`;
  }

  /** Path of the HCA itself. */
  pathOf(hca: HcaObject): string {
    return `${this.#classPath(hca, "infiniband")}/${hca.name}`;
  }

  /** Path of a net device in devices/. */
  netdevPath(hca: HcaObject, netdev: NetdevDescription): string {
    const parent = netdev.bond !== undefined || netdev.virtual === true ? null : this.parentOf(hca);
    return `${parent ?? "/devices/virtual"}/net/${netdev.name}`;
  }

  /** Adds an HCA of the description: its function if needed, net devices, RDMA objects. */
  *probe(description: HcaDescription, pf: HcaObject | null = null, vfIndex: number | null = null): Steps {
    const hca = newHca(description, pf, vfIndex);
    this.#ensureFunction(hca);
    this.hcas.push(hca);
    return yield* this.bind(hca, null);
  }

  /** Binds the driver to the HCA: net devices first, then the RDMA objects. */
  *bind(hca: HcaObject, uverbs: number | null): Steps {
    const { description } = hca;
    const { pci, sf, driver } = description;
    const rival = this.hcas.some((other) => other !== hca && other.name === hca.name && other.where !== "gone");
    if (rival) hca.name = this.#freeName(`${hca.name.replace(/\d+$/, "")}%d`);
    if (sf !== undefined) this.machine.plugSubFunction(this.parentOf(hca) ?? "", sf, driver, pciFacts(description));
    else if (pci !== null) this.machine.linkDriver(pci, driver);
    this.plugNetdevs(hca);
    yield;
    hca.uverbs = description.uverbs === false ? null : uverbs ?? this.#lowestFree("uverbs");
    for (const port of hca.ports) {
      const wanted = port.description.umad ?? port.description.linkLayer !== "Unknown";
      port.mad = wanted ? this.#lowestFree("umad") : null;
    }
    yield* this.appear(hca, true);
    return [`add ${hca.name}${hca.uverbs === null ? "" : ` uverbs${hca.uverbs}`}`];
  }

  /** Adds the RDMA objects: the HCA, then uverbs, then umad and issm. */
  *appear(hca: HcaObject, nodes: boolean): Generator<void, void> {
    const path = this.pathOf(hca);
    const ports: Directory = Object.fromEntries(
      hca.ports.map((port) => [String(port.number), portTree(hca.description, port.number, port.description, port)]),
    );
    this.sys.tree(path, hcaTree(hca.description, hca.name, this.parentOf(hca), ports));
    this.sys.link(`/class/infiniband/${hca.name}`, path);
    hca.where = "here";
    yield;
    this.plugUverbs(hca, nodes);
    yield;
    for (const [kind, number, port] of madsOf(hca)) this.#plugChar(hca, kind, number, port, nodes);
  }

  /** Removes the RDMA objects, and the nodes unless they stay (devtmpfs has no namespaces). */
  *vanish(hca: HcaObject, where: "pod" | "gone", nodes: boolean): Generator<void, void> {
    if (hca.where === "here") {
      for (const [kind, number] of madsOf(hca)) this.#unplugChar(hca, kind, number, nodes);
      yield;
      this.unplugUverbs(hca, nodes);
      yield;
      const path = this.pathOf(hca);
      this.sys.remove(`/class/infiniband/${hca.name}`);
      hca.where = where;
      this.sys.remove(path);
      this.#removeGlue(path);
    } else if (nodes) {
      for (const [kind, number] of madsOf(hca)) this.machine.dropNode(`/infiniband/${kind}${number}`);
      if (hca.uverbs !== null) this.machine.dropNode(`/infiniband/uverbs${hca.uverbs}`);
      hca.where = where;
    }
  }

  /** Unbinds the driver: VFs and sub-functions are removed first; `driver` and the net devices disappear. */
  *unbind(hca: HcaObject): Steps {
    const lines: string[] = [];
    for (const vf of this.vfsOf(hca)) lines.push(...yield* this.destroyVf(vf));
    if (lines.length > 0) this.#writeNumVfs(hca, 0);
    const { sf, pci } = hca.description;
    const below = this.hcas.filter((other) =>
      sf === undefined && pci !== null && other !== hca && other.where !== "gone" && other.description.pci === pci
    );
    for (const other of below) if (other.description.sf !== undefined) lines.push(...yield* this.unbind(other));
    const uverbs = hca.uverbs;
    yield* this.vanish(hca, "gone", true);
    hca.uverbs = null;
    hca.nodeHidden = false;
    for (const port of hca.ports) port.mad = null;
    this.unplugNetdevs(hca);
    if (sf !== undefined) this.machine.unplugSubFunction(this.parentOf(hca) ?? "", sf);
    else if (pci !== null && below.every((other) => other.description.sf !== undefined)) {
      this.machine.unlinkDriver(pci, hca.description.driver);
    }
    lines.push(`remove ${hca.name}${uverbs === null ? "" : ` uverbs${uverbs}`}`);
    return lines;
  }

  vfsOf(pf: HcaObject): HcaObject[] {
    return this.hcas.filter((hca) => hca.pf === pf);
  }

  /** Writes n to `sriov_numvfs`: functions and links appear, then the number changes, then the driver binds each VF. */
  *createVfs(pf: HcaObject, n: number): Steps {
    const { description } = pf;
    const total = description.totalVfs ?? 0;
    if (pf.description.pci === null || total === 0) throw new Error(`Cannot add VFs to ${pf.name}: it has no SR-IOV`);
    if (pf.where === "gone") throw new Error(`Cannot add VFs to ${pf.name}: its driver is not bound`);
    if (this.vfsOf(pf).length > 0) throw new Error(`Cannot add VFs to ${pf.name}: remove its VFs first (EBUSY)`);
    if (!Number.isInteger(n) || n < 1 || n > total) {
      throw new RangeError(`Cannot add ${n} VFs to ${pf.name}: sriov_totalvfs is ${total} (ERANGE)`);
    }
    const pfPath = this.parentOf(pf) ?? "";
    const descriptions = Array.from({ length: n }, (_, index) => vfDescription(pf, index));
    for (const [index, vf] of descriptions.entries()) {
      if (this.machine.functionAt(vf.pci ?? "") !== undefined) {
        throw new Error(`Cannot add VF ${index} of ${pf.name}: ${vf.pci} is taken, give its \`vf\` another offset`);
      }
    }
    for (const [index, vf] of descriptions.entries()) {
      const extra = { physfn: { to: pfPath } };
      const path = this.machine.plugFunction(vf.pci ?? "", vf.bridges, pciFacts(vf), extra);
      this.sys.link(`${pfPath}/virtfn${index}`, path);
    }
    yield;
    this.#writeNumVfs(pf, n);
    yield;
    const lines: string[] = [];
    for (const [index, vf] of descriptions.entries()) {
      const pattern = description.vf?.names ?? `${pf.name.replace(/(_bond)?_?\d+$/, "")}_%d`;
      lines.push(...yield* this.probe({ ...vf, name: this.#freeName(pattern) }, pf, index));
    }
    return lines;
  }

  /** Removes a VF: its RDMA objects, then its PCI function and the PF's link. */
  *destroyVf(vf: HcaObject): Steps {
    const lines = vf.where === "gone" ? [] : yield* this.unbind(vf);
    const pfPath = vf.pf === null ? null : this.parentOf(vf.pf);
    this.sys.remove(`${pfPath}/virtfn${vf.vfIndex}`);
    this.machine.unplugFunction(vf.description.pci ?? "");
    this.hcas.splice(this.hcas.indexOf(vf), 1);
    return lines;
  }

  /** Writes 0 to `sriov_numvfs`. */
  *destroyVfs(pf: HcaObject): Steps {
    const lines: string[] = [];
    for (const vf of this.vfsOf(pf)) lines.push(...yield* this.destroyVf(vf));
    this.#writeNumVfs(pf, 0);
    return lines;
  }

  plugUverbs(hca: HcaObject, node = true): void {
    if (hca.uverbs !== null) this.#plugChar(hca, "uverbs", hca.uverbs, null, node && !hca.nodeHidden);
  }

  unplugUverbs(hca: HcaObject, node = true): void {
    if (hca.uverbs !== null) this.#unplugChar(hca, "uverbs", hca.uverbs, node);
  }

  showNode(hca: HcaObject, shown: boolean): void {
    hca.nodeHidden = !shown;
    if (hca.uverbs === null) return;
    if (shown) this.machine.makeNode(`/infiniband/uverbs${hca.uverbs}`, 0o666);
    else this.machine.dropNode(`/infiniband/uverbs${hca.uverbs}`);
  }

  plugNetdevs(hca: HcaObject): void {
    hca.netdevsInPod = false;
    for (const netdev of hca.netdevs) {
      const path = this.netdevPath(hca, netdev);
      const port = hca.ports[(netdev.port ?? 1) - 1];
      this.machine.plugNetdev(path, netdev, {
        device: path.startsWith("/devices/virtual/") ? null : this.parentOf(hca),
        address: macOf(netdev, hca.description.nodeGuid),
        link: linkOf(port?.state ?? "1: DOWN", port?.physState ?? "3: Disabled"),
        master: hca.netdevs.find((other) => other.bond?.includes(netdev.name))?.name ?? null,
      });
    }
  }

  /** Removes the net devices with their PCI function; those in devices/virtual stay. */
  unplugNetdevs(hca: HcaObject): void {
    for (const netdev of hca.netdevs) {
      const path = this.netdevPath(hca, netdev);
      if (!path.startsWith("/devices/virtual/")) this.machine.unplugNetdev(path, netdev.name);
    }
  }

  #classPath(hca: HcaObject, name: string): string {
    return `${this.parentOf(hca) ?? "/devices/virtual"}/${name}`;
  }

  #removeGlue(path: string): void {
    this.sys.removeIfEmpty(path.slice(0, path.lastIndexOf("/")));
  }

  #plugChar(hca: HcaObject, kind: CharKind, number: number, port: number | null, node: boolean): void {
    const className = kind === "uverbs" ? "infiniband_verbs" : "infiniband_mad";
    const path = `${this.#classPath(hca, className)}/${kind}${number}`;
    const { driver, software } = hca.description;
    const abiOf = software === undefined ? driver : software.kind === "rxe" ? "rdma_rxe" : "siw";
    const facts = { hca: hca.name, driver: abiOf, port, device: this.parentOf(hca) };
    this.sys.tree(path, charDeviceTree(kind, number, facts));
    this.sys.link(`/class/${className}/${kind}${number}`, path);
    if (node) this.machine.makeNode(`/infiniband/${kind}${number}`, kind === "uverbs" ? 0o666 : 0o600);
  }

  #unplugChar(hca: HcaObject, kind: CharKind, number: number, node: boolean): void {
    const className = kind === "uverbs" ? "infiniband_verbs" : "infiniband_mad";
    const path = `${this.#classPath(hca, className)}/${kind}${number}`;
    if (node) this.machine.dropNode(`/infiniband/${kind}${number}`);
    this.sys.remove(`/class/${className}/${kind}${number}`);
    this.sys.remove(path);
    this.#removeGlue(path);
  }

  #lowestFree(kind: "uverbs" | "umad"): number {
    const taken = new Set(
      this.hcas.flatMap((hca) => kind === "uverbs" ? [hca.uverbs] : hca.ports.map((port) => port.mad)),
    );
    let number = 0;
    while (taken.has(number)) number++;
    return number;
  }

  #freeName(pattern: string): string {
    const taken = new Set(this.hcas.filter((hca) => hca.where !== "gone").map((hca) => hca.name));
    let number = 0;
    while (taken.has(pattern.replace("%d", String(number)))) number++;
    return pattern.replace("%d", String(number));
  }

  #writeNumVfs(pf: HcaObject, n: number): void {
    this.sys.file(`${this.parentOf(pf)}/sriov_numvfs`, String(n));
  }

  #ensureFunction(hca: HcaObject): void {
    const { pci, bridges, totalVfs } = hca.description;
    if (pci === null || this.machine.functionAt(pci) !== undefined) return;
    const sriov = totalVfs ? { sriov_totalvfs: String(totalVfs), sriov_numvfs: "0" } : {};
    this.machine.plugFunction(pci, bridges, pciFacts(hca.description), sriov);
  }
}
