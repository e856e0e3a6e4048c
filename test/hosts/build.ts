/**
 * Builds a machine's /sys and /dev by the kernel's ABI from a short description. A second opinion beside the sim: it
 * shares no code with it, so that a test on these trees does not agree with the sim's mistakes.
 *
 * @module
 */
import { chmodSync, existsSync, lstatSync, mkdirSync, readFileSync, rmSync, symlinkSync, writeFileSync } from "node:fs";
import { dirname, join, relative } from "node:path";

/** A net device below a function, or one of the kernel's own making (bond, VLAN, bridge). */
export interface NetdevPlan {
  readonly name: string;
  readonly type?: "ipoib" | "ether";
  readonly dev_port?: number;
  readonly dev_id?: string;
  readonly address?: string;
  readonly operstate?: string;
  readonly carrier?: number;
  readonly flags?: string;
  readonly phys_port_name?: string;
  readonly phys_switch_id?: string;
  /** The bond, bridge or team above. */
  readonly master?: string;
  /** Net devices below: this is a VLAN, a bridge or a bond. */
  readonly lower?: readonly string[];
  /** Makes it a bond with a `bonding` directory. */
  readonly bond?: boolean;
}

/** One port of an HCA. */
export interface PortPlan {
  readonly n?: number;
  readonly state?: "DOWN" | "INIT" | "ARMED" | "ACTIVE";
  readonly phys?: string;
  readonly layer?: string;
  readonly rate?: string;
  readonly lid?: string;
  readonly sm_lid?: string;
  readonly pkeys?: readonly string[];
  /** Slots of the GID table; 0: an empty `gids` directory. */
  readonly slots?: number;
  readonly gids?: readonly {
    readonly i?: number;
    readonly gid: string;
    readonly type?: string;
    readonly ndev?: string;
  }[];
  readonly umad?: boolean;
  readonly issm?: boolean;
}

export interface FunctionPlan {
  readonly pci?: string;
  readonly path?: readonly string[];
  readonly vendor?: string;
  readonly device?: string;
  readonly class?: string;
  readonly driver?: string;
  readonly numa?: number;
  readonly sriov_totalvfs?: number;
  readonly sriov_numvfs?: number;
  readonly physfn?: string;
  readonly vf?: number;
  readonly netdevs?: readonly NetdevPlan[];
  /** Name of another device below the function that has the net devices or the HCA, such as virtio0. */
  readonly under?: string;
}

/** An RDMA device, and the function, auxiliary device or nothing that carries it. */
export interface HcaPlan extends FunctionPlan {
  readonly name: string;
  readonly virtual?: boolean;
  /** Name of the auxiliary device below the function. */
  readonly aux?: string;
  readonly auxdriver?: string;
  readonly sfnum?: number;
  readonly node_type?: string;
  readonly node_guid?: string;
  readonly sys_guid?: string;
  readonly node_desc?: string;
  readonly fw_ver?: string;
  readonly board_id?: string;
  readonly hca_type?: string;
  readonly hw_rev?: string;
  readonly parent?: string;
  readonly uverbs?: number | null;
  readonly abi?: number;
  /** Class devices of the same function, such as hfi1: `["hfi1", "hfi1_0", "243:0"]`, made with a node of that name. */
  readonly companions?: readonly (readonly [kind: string, name: string, dev: string])[];
  readonly ports?: readonly PortPlan[];
}

/** A whole machine, as in host.json. */
export interface HostPlan {
  readonly hcas: readonly HcaPlan[];
  readonly nics?: readonly FunctionPlan[];
  readonly virtual_netdevs?: readonly NetdevPlan[];
  readonly rdma_cm?: boolean;
  readonly modules?: readonly string[];
}

/** Where the two trees are. */
export interface BuiltHost {
  readonly sysfs: string;
  readonly dev: string;
}

/** The plan of a folder of this directory: `"30/host.json"`. */
export function readPlan(file: string): HostPlan {
  return JSON.parse(readFileSync(new URL(file, import.meta.url), "utf8")) as HostPlan;
}

const NO_GID = Array(8).fill("0000").join(":");
const STATES = ["NOP", "DOWN", "INIT", "ARMED", "ACTIVE"];
const MODULES = ["ib_core", "ib_uverbs", "ib_umad", "rdma_cm", "rdma_ucm"];

/** Writes `root/sys` and `root/dev`; whatever was there is removed. */
export function buildHost(plan: HostPlan, root: string): BuiltHost {
  rmSync(root, { recursive: true, force: true });
  const host = { sysfs: join(root, "sys"), dev: join(root, "dev") };
  new Builder(host).build(plan);
  return host;
}

class Builder {
  readonly #host: BuiltHost;
  readonly #functions = new Map<string, string>();
  #ifindex = 10;
  #uverbs = 0;
  #mads = 0;

  constructor(host: BuiltHost) {
    this.#host = host;
  }

  build(plan: HostPlan): void {
    const { sysfs, dev } = this.#host;
    for (const kind of ["infiniband", "infiniband_verbs", "infiniband_mad", "net"]) {
      mkdirSync(join(sysfs, "class", kind), { recursive: true });
    }
    mkdirSync(join(dev, "infiniband"), { recursive: true });
    put(join(sysfs, "class/infiniband_verbs/abi_version"), "6");
    put(join(sysfs, "class/infiniband_mad/abi_version"), "5");
    for (const name of plan.modules ?? MODULES) mkdirSync(join(sysfs, "module", name), { recursive: true });
    if (plan.rdma_cm ?? true) {
      put(join(sysfs, "class/misc/rdma_cm/dev"), "10:58");
      this.#node("infiniband/rdma_cm", 0o666);
    }
    for (const nic of plan.nics ?? []) {
      const dir = join(this.#function(nic), nic.under ?? "");
      for (const netdev of nic.netdevs ?? []) this.#netdev(netdev, dir);
    }
    for (const netdev of plan.virtual_netdevs ?? []) this.#netdev(netdev, null);
    for (const hca of plan.hcas) this.#hca(hca);
    for (const one of [...plan.hcas, ...plan.nics ?? []]) this.#virtualFunction(one);
    for (const netdev of everyNetdev(plan)) this.#stack(netdev);
  }

  #function(plan: FunctionPlan): string {
    const address = plan.pci!;
    const { sysfs } = this.#host;
    const dir = join(sysfs, "devices", ...plan.path ?? ["pci0000:00"], address);
    if (this.#functions.has(address)) return dir;
    this.#functions.set(address, dir);
    const { vendor = "15b3", device = "1017", driver = "", class: kind = "0x020000" } = plan;
    const wide = (id: string) => id.toUpperCase().padStart(8, "0");
    const [, base = "", sub = "", prog = ""] = /^0x(..)(..)(..)$/.exec(kind) ?? [];
    const files = {
      vendor: `0x${vendor}`,
      device: `0x${device}`,
      subsystem_vendor: `0x${vendor}`,
      subsystem_device: "0x0007",
      class: kind,
      numa_node: plan.numa ?? 0,
      modalias: `pci:v${wide(vendor)}d${wide(device)}sv${wide(vendor)}sd00000007bc${base}sc${sub}i${prog}`,
      uevent: `DRIVER=${driver}\nPCI_SLOT_NAME=${address}`,
      sriov_totalvfs: plan.sriov_totalvfs,
      sriov_numvfs: plan.sriov_numvfs,
    };
    for (const [name, value] of Object.entries(files)) if (value !== undefined) put(join(dir, name), `${value}`);
    if (driver !== "") this.#driver("pci", driver, dir);
    link(join(dir, "subsystem"), join(sysfs, "bus/pci"));
    link(join(sysfs, "bus/pci/devices", address), dir);
    return dir;
  }

  #driver(bus: string, driver: string, dir: string): void {
    const there = join(this.#host.sysfs, "bus", bus, "drivers", driver);
    mkdirSync(there, { recursive: true });
    link(join(dir, "driver"), there);
  }

  /** @param below the device that it sits on; null for the kernel's own */
  #netdev(plan: NetdevPlan, below: string | null): void {
    const { sysfs } = this.#host;
    const dir = join(below ?? join(sysfs, "devices/virtual"), "net", plan.name);
    const ifindex = ++this.#ifindex;
    const files = {
      address: plan.address ?? `02:00:00:00:00:${(ifindex & 255).toString(16).padStart(2, "0")}`,
      ifindex,
      type: plan.type === "ipoib" ? 32 : 1,
      dev_port: plan.dev_port ?? 0,
      dev_id: plan.dev_id ?? "0x0",
      operstate: plan.operstate ?? "up",
      carrier: plan.carrier ?? 1,
      mtu: 1500,
      flags: plan.flags ?? "0x1003",
      phys_port_name: plan.phys_port_name,
      phys_switch_id: plan.phys_switch_id,
    };
    for (const [name, value] of Object.entries(files)) if (value !== undefined) put(join(dir, name), `${value}`);
    if (plan.bond) put(join(dir, "bonding/mode"), "802.3ad 4");
    if (below !== null) link(join(dir, "device"), below);
    link(join(sysfs, "class/net", plan.name), dir);
    if (plan.master !== undefined) link(join(dir, "master"), join(sysfs, "devices/virtual/net", plan.master));
  }

  /** The kernel's links between a net device and those below it. */
  #stack(plan: NetdevPlan): void {
    const at = (name: string) => join(this.#host.sysfs, "class/net", name);
    for (const lower of plan.lower ?? []) {
      link(join(resolved(at(plan.name)), `lower_${lower}`), resolved(at(lower)));
      link(join(resolved(at(lower)), `upper_${plan.name}`), resolved(at(plan.name)));
    }
  }

  #hca(plan: HcaPlan): void {
    const { sysfs } = this.#host;
    const below = this.#carrier(plan);
    const base = below ?? join(sysfs, "devices/virtual");
    for (const netdev of plan.netdevs ?? []) this.#netdev(netdev, below);
    const dir = join(base, "infiniband", plan.name);
    const guid = plan.node_guid ?? `0c42:a103:0000:${(this.#uverbs + 1).toString(16).padStart(4, "0")}`;
    const files = {
      node_type: plan.node_type ?? "1: CA",
      node_guid: guid,
      sys_image_guid: plan.sys_guid ?? guid,
      node_desc: plan.node_desc ?? plan.name,
      uevent: `NAME=${plan.name}`,
      fw_ver: plan.fw_ver,
      board_id: plan.board_id,
      hca_type: plan.hca_type,
      hw_rev: plan.hw_rev,
      parent: plan.parent,
    };
    for (const [name, value] of Object.entries(files)) if (value !== undefined) put(join(dir, name), value);
    if (below !== null) link(join(dir, "device"), below);
    link(join(sysfs, "class/infiniband", plan.name), dir);
    link(join(dir, "subsystem"), join(sysfs, "class/infiniband"));
    (plan.ports ?? [{}]).forEach((port, i) => this.#port(plan.name, dir, base, below, port, port.n ?? i + 1));
    if (plan.uverbs !== null) {
      const number = plan.uverbs ?? this.#uverbs;
      this.#classDevice("infiniband_verbs", `uverbs${number}`, `231:${192 + number}`, base, below, {
        ibdev: plan.name,
        abi_version: plan.abi ?? 1,
      });
      this.#node(`infiniband/uverbs${number}`, 0o666);
      this.#uverbs = Math.max(this.#uverbs, number) + 1;
    }
    for (const [kind, name, dev] of plan.companions ?? []) {
      this.#classDevice(kind, name, dev, base, below, {});
      this.#node(name, 0o666);
    }
  }

  /** The directory of the device that carries the HCA; null for one without. */
  #carrier(plan: HcaPlan): string | null {
    if (plan.virtual) return null;
    const under = plan.aux ?? plan.under;
    const dir = under === undefined ? this.#function(plan) : join(this.#function(plan), under);
    mkdirSync(dir, { recursive: true });
    if (plan.aux === undefined) return dir;
    if (plan.sfnum !== undefined) put(join(dir, "sfnum"), `${plan.sfnum}`);
    link(join(dir, "subsystem"), join(this.#host.sysfs, "bus/auxiliary"));
    if (plan.auxdriver !== undefined) this.#driver("auxiliary", plan.auxdriver, dir);
    return dir;
  }

  #port(hca: string, hcaDir: string, base: string, below: string | null, plan: PortPlan, number: number): void {
    const dir = join(hcaDir, "ports", `${number}`);
    const { state = "ACTIVE", layer = "Ethernet" } = plan;
    const files = {
      state: `${STATES.indexOf(state)}: ${state}`,
      phys_state: plan.phys ?? (state === "DOWN" ? "3: Disabled" : "5: LinkUp"),
      link_layer: layer,
      rate: plan.rate ?? "100 Gb/sec (4X EDR)",
      lid: plan.lid ?? "0x0",
      sm_lid: plan.sm_lid ?? "0x0",
      lid_mask_count: 0,
      sm_sl: 0,
      cap_mask: "0x00010000",
      "counters/port_rcv_data": 0,
      "counters/port_xmit_data": 0,
      "counters/symbol_error": 0,
      "counters/link_downed": 0,
    };
    for (const [name, value] of Object.entries(files)) put(join(dir, name), `${value}`);
    (plan.pkeys ?? ["0xffff"]).forEach((key, i) => put(join(dir, "pkeys", `${i}`), key));
    for (const table of ["gids", "gid_attrs/ndevs", "gid_attrs/types"]) {
      mkdirSync(join(dir, table), { recursive: true });
    }
    for (let i = 0; i < (plan.slots ?? 16); i++) put(join(dir, "gids", `${i}`), NO_GID);
    (plan.gids ?? []).forEach(({ i: slot, gid, type, ndev }, k) => {
      const i = slot ?? k;
      put(join(dir, "gids", `${i}`), gid);
      if (type !== undefined) put(join(dir, "gid_attrs/types", `${i}`), type);
      if (ndev !== undefined) put(join(dir, "gid_attrs/ndevs", `${i}`), ndev);
    });
    const wanted = { umad: plan.umad ?? true, issm: plan.issm ?? layer === "InfiniBand" };
    for (const [kind, minor] of [["umad", 0], ["issm", 64]] as const) {
      if (!wanted[kind]) continue;
      const name = `${kind}${this.#mads}`;
      this.#classDevice("infiniband_mad", name, `231:${this.#mads + minor}`, base, below, { ibdev: hca, port: number });
      this.#node(`infiniband/${name}`, 0o600);
    }
    // The kernel counts ports that have such nodes, and gives both the same number.
    if (wanted.umad || wanted.issm) this.#mads++;
  }

  #classDevice(
    kind: string,
    name: string,
    dev: string,
    base: string,
    below: string | null,
    files: Readonly<Record<string, string | number>>,
  ): void {
    const dir = join(base, kind, name);
    for (const [file, value] of Object.entries({ ...files, dev, uevent: "" })) put(join(dir, file), `${value}`);
    if (below !== null) link(join(dir, "device"), below);
    link(join(this.#host.sysfs, "class", kind, name), dir);
  }

  /** An ordinary file stands for the character device: nothing here opens it. */
  #node(name: string, mode: number): void {
    const path = join(this.#host.dev, name);
    put(path, "");
    chmodSync(path, mode);
  }

  #virtualFunction(plan: FunctionPlan): void {
    if (plan.physfn === undefined) return;
    const own = this.#functions.get(plan.pci!)!, pf = this.#functions.get(plan.physfn)!;
    link(join(own, "physfn"), pf);
    link(join(pf, `virtfn${plan.vf}`), own);
  }
}

function everyNetdev(plan: HostPlan): readonly NetdevPlan[] {
  return [
    ...plan.virtual_netdevs ?? [],
    ...[...plan.hcas, ...plan.nics ?? []].flatMap((one) => one.netdevs ?? []),
  ];
}

function resolved(path: string): string {
  return Deno.realPathSync(path);
}

function put(path: string, text: string): void {
  mkdirSync(dirname(path), { recursive: true });
  writeFileSync(path, `${text}\n`);
}

function link(path: string, target: string): void {
  mkdirSync(dirname(path), { recursive: true });
  if (existsSync(path) || isLink(path)) rmSync(path);
  symlinkSync(relative(dirname(path), target), path);
}

function isLink(path: string): boolean {
  try {
    return lstatSync(path).isSymbolicLink();
  } catch {
    return false;
  }
}
