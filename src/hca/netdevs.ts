/**
 * Assigns net devices to HCAs: those of the HCA's function, and of those named in its GID table the ones on top of them
 * (bond, VLAN, bridge). A name alone is not enough: `gid_attrs/ndevs` prints names of any network namespace, and a
 * pod's macvlan can have the name of another HCA's net device.
 *
 * @module
 */
import { basename, dirname } from "node:path";
import { printable } from "../text/printable.ts";
import { entries, exists, isDirectory, linkName, list, readLine, resolve } from "./files.ts";
import { natural } from "../text/natural.ts";
import type { NetdevMemory, OwnNetdev } from "./netdev_memory.ts";
import { isPciAddress, parseNumber } from "./parse.ts";
import type { SwitchPort, SwitchPorts } from "./switch_ports.ts";
import type { Port } from "./types.ts";

/** The net devices of a function in this network namespace. */
export interface OwnNetdevs {
  readonly netdevs: readonly OwnNetdev[];
  /** True when there are none here and `netdevs` are those last seen: they are in another network namespace. */
  readonly away: boolean;
  /** Whether the function is in switchdev mode: one of its net devices is a port of an embedded switch. */
  readonly switchdev: boolean;
  /** False when a net device is left out because the kernel has not said yet whether it is a representor. */
  readonly complete: boolean;
}

/** The net devices of an HCA, by port. */
export interface SortedNetdevs {
  /** The ports, each with its own net devices. */
  readonly ports: readonly Port[];
  /** The net devices of all ports. */
  readonly netdevs: readonly string[];
  /**
   * Further names that select this HCA: the bond above it, and slaves of the bond whose function has no HCA of its own.
   */
  readonly bondNetdevs: readonly string[];
}

/** Maximum number of stacked net devices to follow (bond, VLAN, bridge, …). */
const HIGHEST = 8;

/** Port names of representors of VFs, sub-functions and a DPU's host; "p0" is the uplink, not a representor. */
const REPRESENTOR = /^(c\d+)?pf\d+(vf\d+|sf\d+|hpf)?$/;

/** The net devices of one machine during one scan. */
export class NetdevReader {
  readonly #net: string;
  readonly #memory: NetdevMemory;
  readonly #switchPorts: SwitchPorts;
  readonly #own = new Map<string, Promise<OwnNetdevs>>();

  constructor(sysfs: string, memory: NetdevMemory, switchPorts: SwitchPorts) {
    this.#net = `${sysfs}/class/net`;
    this.#memory = memory;
    this.#switchPorts = switchPorts;
  }

  /**
   * The net devices of a function or auxiliary device, without representors.
   * @param dirs directories that may contain a `net` directory; the first that does is used
   */
  own(dirs: readonly string[]): Promise<OwnNetdevs> {
    const key = deviceKey(dirs[0] ?? "");
    const known = this.#own.get(key);
    if (known !== undefined) return known;
    const read = this.#read(key, dirs);
    this.#own.set(key, read);
    return read;
  }

  async #read(key: string, dirs: readonly string[]): Promise<OwnNetdevs> {
    const names = netdevNames(dirs);
    const facts = await Promise.all(names.map(async ({ dir, name }) => {
      const port = await this.#switchPorts.read(dir, name);
      const devPort = Math.max(
        ...["dev_port", "dev_id"].map((file) => parseNumber(readLine(`${dir}/${file}`)) ?? 0),
      );
      return { name: printable(name), devPort, port };
    }));
    const complete = facts.every(({ port }) => port !== null);
    const switchdev = facts.some(({ port }) => (port?.switchId ?? null) !== null);
    const here = facts.filter(({ port }) => port !== null && !isRepresentor(port))
      .map(({ name, devPort }) => ({ name, devPort }));
    if (!complete && here.length === 0) return { netdevs: [], away: false, switchdev, complete };
    if (here.length > 0) {
      // Only real net devices of the kernel are remembered.
      const real = here.filter(({ name }) => dirs.includes(this.#carrierOf(name) ?? ""));
      if (real.length > 0) this.#memory.see(key, real);
      return { netdevs: here, away: false, switchdev, complete };
    }
    const netdevs = this.#memory.recall(key).filter(({ name }) => !this.#isTaken(name, dirs));
    return { netdevs, away: true, switchdev, complete };
  }

  /** Whether the name now belongs to another function, so that it is no longer the name of the device that is away. */
  #isTaken(name: string, dirs: readonly string[]): boolean {
    const carrier = this.#carrierOf(name);
    return carrier !== null && !dirs.includes(carrier);
  }

  /** Directory of the device that carries the net device; null when there is no such net device. */
  #carrierOf(name: string): string | null {
    const dir = resolve(`${this.#net}/${name}`);
    return dir === null ? null : dirname(dirname(dir));
  }

  /** The net device below soft-RoCE, by the name in the kernel's `parent` attribute. */
  ofParent(hca: string, parent: string): OwnNetdevs {
    if (exists(`${this.#net}/${parent}`)) {
      this.#memory.see(hca, [{ name: parent, devPort: 0 }]);
      return { netdevs: [{ name: parent, devPort: 0 }], away: false, switchdev: false, complete: true };
    }
    const netdevs = this.#memory.recall(hca).filter(({ name }) => !this.#isTaken(name, []));
    return { netdevs, away: true, switchdev: false, complete: true };
  }

  /**
   * Assigns net devices to every port.
   * @param functionDir the HCA's PCI function; null for software
   * @param must whether an Ethernet port of this HCA must have a net device, here or elsewhere; software HCAs disappear
   * with theirs
   */
  sort(ports: readonly Port[], own: OwnNetdevs, functionDir: string | null, must: boolean): SortedNetdevs {
    const names = own.netdevs.map((one) => one.name);
    const above = this.#above(names);
    const sorted = ports.map((port) => {
      const mine = own.netdevs.filter((one) => portOf(one, own.netdevs, ports) === port.number).map((one) => one.name);
      // An empty table names nothing; upper devices that were known before and still exist are kept.
      const listed = port.gids.length > 0 ? port.gids.flatMap((gid) => gid.netdev ?? []) : port.netdevs;
      const named = [...new Set(listed)].filter((name) => !names.includes(name));
      const stacked = named.filter((name) =>
        exists(`${this.#net}/${name}`) && (above.has(name) || this.#standsOn(name, names) ||
          (mine.length === 0 && ports.length > 1 && this.#isSibling(name, functionDir)))
      );
      const away = own.away && must && (mine.length > 0 || (port.linkLayer === "Ethernet" && ports.length === 1));
      return withNetdevs(port, [...mine, ...stacked].sort(natural), away);
    });
    const netdevs = [...new Set([...names, ...sorted.flatMap((port) => port.netdevs)])].sort(natural);
    return { ports: sorted, netdevs, bondNetdevs: this.#bond(netdevs, above, functionDir) };
  }

  /** Every net device on top of these, according to their own links. */
  #above(names: readonly string[]): ReadonlySet<string> {
    const found = new Set<string>();
    let level: readonly string[] = names;
    for (let i = 0; i < HIGHEST && level.length > 0; i++) {
      level = level.flatMap((name) => {
        const dir = `${this.#net}/${name}`;
        const here = entries(dir) ?? [];
        const master = here.includes("master") ? linkName(`${dir}/master`) : null;
        const upper = here.flatMap((one) => one.startsWith("upper_") ? [one.slice(6)] : []);
        return master === null ? upper : [master, ...upper];
      }).filter((name) => !found.has(name));
      for (const name of level) found.add(name);
    }
    return found;
  }

  /** Whether a net device is on top of one of these, according to its own links. */
  #standsOn(name: string, names: readonly string[]): boolean {
    const seen = new Set<string>();
    let level: readonly string[] = [name];
    for (let i = 0; i < HIGHEST && level.length > 0; i++) {
      level = level.flatMap((one) => this.#lower(one)).filter((one) => !seen.has(one));
      for (const one of level) seen.add(one);
      if (level.some((one) => names.includes(one))) return true;
    }
    return false;
  }

  #lower(name: string): readonly string[] {
    const dir = `${this.#net}/${name}`;
    // A bond's slaves are among them. Reading `bonding/slaves` would take the RTNL lock.
    const lower = (entries(dir) ?? []).flatMap((one) => one.startsWith("lower_") ? [one.slice(6)] : []);
    return [...lower, ...list(`${dir}/brif`)];
  }

  /**
   * Whether it is a net device of another function of the same adapter without an HCA: the second port of a two-port
   * HCA.
   */
  #isSibling(name: string, functionDir: string | null): boolean {
    const dir = resolve(`${this.#net}/${name}/device`);
    if (dir === null || functionDir === null || dir === functionDir) return false;
    const slot = (path: string) => `${dirname(path)}/${basename(path).replace(/\.\d$/, "")}`;
    return slot(dir) === slot(functionDir) && !isDirectory(`${dir}/infiniband`);
  }

  /**
   * Whether it is a net device of a function of the same driver and model without an HCA: in a virtual machine the two
   * functions of a LAG are on buses of their own.
   */
  #isTwin(name: string, functionDir: string | null): boolean {
    const dir = resolve(`${this.#net}/${name}/device`);
    if (dir === null || functionDir === null || dir === functionDir || isDirectory(`${dir}/infiniband`)) return false;
    const model = (of: string) => [linkName(`${of}/driver`), readLine(`${of}/vendor`), readLine(`${of}/device`)];
    const mine = model(functionDir);
    return !mine.includes(null) && model(dir).every((value, i) => value === mine[i]);
  }

  #bond(netdevs: readonly string[], above: ReadonlySet<string>, functionDir: string | null): readonly string[] {
    const bonds = [...above].filter((name) => isDirectory(`${this.#net}/${name}/bonding`) || netdevs.includes(name));
    if (bonds.length === 0) return [];
    const slaves = list(this.#net).filter((name) => {
      const master = linkName(`${this.#net}/${name}/master`);
      return master !== null && bonds.includes(master) &&
        (this.#isSibling(name, functionDir) || this.#isTwin(name, functionDir));
    });
    return [...new Set([...bonds, ...slaves])].filter((name) => !netdevs.includes(name)).map(printable).sort(natural);
  }
}

/**
 * A device's name is unique on its bus, and the same wherever sysfs is mounted. The names of other directories, to
 * which a `device` entry that is no link may lead, are not unique.
 */
function deviceKey(dir: string): string {
  const name = basename(dir);
  return isPciAddress(name) || /\.\d+$/.test(name) ? name : dir;
}

/** Names in the `net` directories, with their paths. */
function netdevNames(dirs: readonly string[]): readonly { readonly dir: string; readonly name: string }[] {
  for (const dir of dirs) {
    const names = list(`${dir}/net`);
    if (names.length > 0) return names.map((name) => ({ dir: `${dir}/net/${name}`, name }));
  }
  return [];
}

/** The net device names of the function, which a quick scan compares. */
export function netdevMark(dirs: readonly string[]): string {
  for (const dir of dirs) {
    const names = entries(`${dir}/net`) ?? [];
    if (names.length > 0) return names.join(" ");
  }
  return "";
}

/** Kernels before 4.19 use only the number as a representor's port name. */
function isRepresentor({ portName, switchId }: SwitchPort): boolean {
  if (portName === null) return false;
  return REPRESENTOR.test(portName) || (switchId !== null && /^\d+$/.test(portName));
}

/** The port that a net device of the function belongs to. */
function portOf(one: OwnNetdev, all: readonly OwnNetdev[], ports: readonly Port[]): number | undefined {
  if (ports.length <= 1) return ports[0]?.number;
  if (all.every(({ devPort }) => devPort === 0)) {
    const naming = ports.find((port) => port.gids.some((gid) => gid.netdev === one.name));
    if (naming !== undefined) return naming.number;
  }
  return one.devPort + 1;
}

function withNetdevs(port: Port, netdevs: readonly string[], netdevAway: boolean): Port {
  const same = port.netdevAway === netdevAway && port.netdevs.length === netdevs.length &&
    port.netdevs.every((name, i) => name === netdevs[i]);
  return same ? port : { ...port, netdevs, netdevAway };
}
