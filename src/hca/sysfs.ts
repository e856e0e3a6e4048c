/**
 * Scans every RDMA device under `class/infiniband`. sysfs is the authority for what exists; file formats are those of
 * `Documentation/ABI/stable/sysfs-class-infiniband` in the kernel tree.
 *
 * Scans are cheap because results are reused: for an HCA directory of the same incarnation only the changing attributes
 * are read, and an unchanged HCA is returned as the same object.
 *
 * @module
 */
import { basename, join } from "node:path";
import { natural } from "../text/natural.ts";
import { changedPort } from "./changed_port.ts";
import { ClassNames, readClassNodes, refreshClassNodes } from "./class_nodes.ts";
import { startDeadline } from "./deadline.ts";
import { entries, incarnation, isDirectory, readLine, readOptional } from "./files.ts";
import { HCA_NAME, notAName } from "./hca_name.ts";
import { inLanes, PORTS_AT_ONCE } from "./lanes.ts";
import { withLastKnown } from "./last_known.ts";
import { aboutPorts, type Asked, LateAnswers } from "./late_answers.ts";
import { NetdevMemory } from "./netdev_memory.ts";
import { netdevPeer } from "./netdev_peer.ts";
import { netdevMark, NetdevReader, type OwnNetdevs } from "./netdevs.ts";
import { type MadNodes, portKey, readDevNodes, readMads, readUverbs } from "./nodes.ts";
import { isSoftware, parseGuid, parseNodeType } from "./parse.ts";
import { countVfs, type ParentDevice, readParentDevice, VfIndices } from "./pci.ts";
import { type AskedPort, askPort, emptyPort, portNumbers, withAnswer } from "./port.ts";
import { markSubdevices } from "./subdevices.ts";
import { SwitchPorts } from "./switch_ports.ts";
import { Turn } from "./turn.ts";
import type { Depth } from "./events/trigger.ts";
import type { Hca, Port, UverbsNode } from "./types.ts";

/**
 * The roots of sysfs and /dev; other than /sys and /dev for the sim, the tests, and containers that mount the host's
 * trees.
 */
export interface Roots {
  readonly sysfs: string;
  readonly dev: string;
}

/** Whether the tree is the kernel's own sysfs rather than one on disk; only the former has a uevent counter. */
export function isKernelsOwn(sysfsRoot: string): boolean {
  return sysfsRoot === "/sys" || readLine(join(sysfsRoot, "kernel/uevent_seqnum")) !== null;
}

/** What sysfs and /dev show, without libibverbs. */
export interface SysfsView {
  readonly hcas: readonly Hca[];
  readonly rdmaCm: boolean;
  readonly knem: boolean;
  readonly unreadable: readonly { readonly name: string; readonly reason: string }[];
  /** Number of further unreadable names that are not in the list. */
  readonly unlisted: number;
  /** False when `class/infiniband` itself is missing: no RDMA driver is loaded. */
  readonly rdmaLoaded: boolean;
}

/** State shared by all HCAs that are read at the same time. */
interface ScanPass {
  readonly depth: Depth;
  readonly vfIndices: VfIndices;
  readonly classNames: ClassNames;
  readonly netdevs: NetdevReader;
  /** Resolves when the deadline for firmware has passed; one timer for several HCAs. */
  readonly deadline: Promise<null>;
}

interface Known {
  readonly incarnation: string;
  readonly hca: Hca;
  readonly carrier: Carrier;
  /** Names of the carrier's net devices when they were read; null when not all that there is to know could be read. */
  readonly netdevMark: string | null;
}

/** The devices below an HCA, as needed for its net devices and for other HCAs of the same function. */
interface Carrier extends Pick<ParentDevice, "dir" | "functionDir" | "pfDir"> {
  /** Soft-RoCE's net device. */
  readonly parent: string | null;
  /** Directories that may contain net devices of the HCA, the nearest first. */
  readonly netDirs: readonly string[];
}

/** HCAs whose slow attributes are read at the same time. Deno reads files on 32 threads, and some must stay free. */
const AT_ONCE = 8;

/** The same where mostly one file a port is asked, in quick scans and polls: every chunk wakes the process up. */
const ASKED_AT_ONCE = 24;

/** Polls from one that lists the HCAs to the next: to list them is a quarter of a poll's cost. */
const NAMES_EVERY = 4;

/** Maximum number of HCAs with a uverbs node: RDMA_MAX_PORTS of kernel drivers/infiniband/core/core_priv.h. */
const MOST_HCAS = 8_192;

/** Maximum number of unreadable names to list; a directory full of junk must not fill logs and memory. */
const MAX_LISTED = 100;

/** Reads HCAs from sysfs. Not re-entrant: one scan at a time. */
export class SysfsScanner {
  readonly #roots: Roots;
  readonly #deadlineMs: number;
  /** Net devices as last seen. The caller may store it across restarts. */
  readonly memory = new NetdevMemory();
  #known: ReadonlyMap<string, Known> = new Map();
  #uverbs: ReadonlyMap<string, UverbsNode> = new Map();
  #mads: ReadonlyMap<string, MadNodes> = new Map();
  #madNames = "";
  #nodes: readonly string[] = [];
  #names: { raw: readonly string[]; sorted: readonly string[] } = { raw: [], sorted: [] };
  #polls = 0;
  /** Pending slow reads by incarnation; an HCA with a pending read is not asked again. */
  readonly #late: LateAnswers;
  readonly #switchPorts: SwitchPorts;

  /**
   * @param deadlineMs how long a scan waits for the firmware of an HCA, in milliseconds
   * @param onLateAnswer called when what missed the deadline has answered, with its name: a reason to scan again
   */
  constructor(roots: Roots, deadlineMs = 2_000, onLateAnswer: (name: string) => void = () => {}) {
    this.#roots = roots;
    this.#deadlineMs = deadlineMs;
    this.#late = new LateAnswers(onLateAnswer);
    this.#switchPorts = new SwitchPorts(deadlineMs, onLateAnswer);
  }

  /** Reads the machine once. Never rejects because of the state of the machine. @throws {OutOfFiles} */
  async scan(depth: Depth): Promise<SysfsView> {
    const { sysfs, dev } = this.#roots;
    const classDir = `${sysfs}/class/infiniband`;
    const turn = new Turn();
    const raw = entries(classDir);
    const all = this.#sorted(raw ?? []);
    const named = all.filter((name) => HCA_NAME.test(name));
    const names = named.slice(0, MOST_HCAS);
    const nodes = readDevNodes(dev);
    this.#nodes = [...nodes];
    this.#uverbs = await readUverbs(sysfs, dev, nodes, depth === "full" ? new Map() : this.#uverbs, turn);
    const marks = new Map<string, string | null>();
    const isKernels = isKernelsOwn(sysfs);
    for (const name of names) {
      if (turn.isOver) await turn.next();
      marks.set(name, incarnation(`${classDir}/${name}`, isKernels));
    }
    await this.#refreshMads(nodes, depth, marks, turn);

    const vfIndices = new VfIndices();
    const classNames = new ClassNames(sysfs);
    const netdevs = new NetdevReader(sysfs, this.memory, this.#switchPorts);
    const known = new Map<string, Known>();
    const unreadable = [
      ...all.length === named.length ? [] : all.filter((name) => !HCA_NAME.test(name)).map(notAName),
      ...named.slice(MOST_HCAS).map((name) => ({ name, reason: `there are more than ${MOST_HCAS} RDMA devices` })),
    ];
    const atOnce = depth === "full" ? AT_ONCE : ASKED_AT_ONCE;
    for (let from = 0; from < names.length; from += atOnce) {
      // An Allocate that comes meanwhile waits for one chunk, not for the machine.
      if (turn.isOver) await turn.next();
      const chunk = names.slice(from, from + atOnce);
      using deadline = startDeadline(this.#deadlineMs);
      const scan: ScanPass = { depth, vfIndices, classNames, netdevs, deadline: deadline.passed };
      const read = await Promise.all(chunk.map((name) => this.#readHca(name, marks.get(name) ?? null, scan)));
      chunk.forEach((name, i) => {
        const one = read[i]!;
        if (typeof one === "string") unreadable.push({ name, reason: one });
        else known.set(name, one);
      });
    }
    this.#known = markSubdevices(known);
    return {
      hcas: [...this.#known.values()].map((one) => one.hca),
      rdmaCm: nodes.has("rdma_cm"),
      // The upstream Go plugin checks the class entry, which exists exactly while the module is loaded.
      knem: isDirectory(`${sysfs}/class/misc/knem`),
      unreadable: unreadable.length > MAX_LISTED ? unreadable.slice(0, MAX_LISTED) : unreadable,
      unlisted: Math.max(0, unreadable.length - MAX_LISTED),
      rdmaLoaded: raw !== null,
    };
  }

  /** The few questions of {@link Discovery.poll}: names, and the states of ports. @throws {OutOfFiles} */
  async poll(): Promise<string | null> {
    const { sysfs, dev } = this.#roots;
    const all = [...this.#known.values()];
    // An HCA that is gone does not answer below. One that is new takes seconds to come up, and mostly an event tells.
    const listed = all.length === 0 || this.#polls++ % NAMES_EVERY === 0;
    if (listed && !sameNames(entries(`${sysfs}/class/infiniband`) ?? [], this.#names.raw)) {
      return "HCAs were added or removed";
    }
    // A node follows its HCA some milliseconds later. One that is removed while its HCA stays is for the next scan to
    // find: to list the nodes in each poll would be a fifth of its cost, and polls are as frequent as they are cheap.
    const awaited = all.length === 0 || all.some(({ hca }) => hca.uverbs?.present !== true);
    if (awaited && !sameNames([...readDevNodes(dev)], this.#nodes)) return "device nodes were added or removed";
    for (let from = 0; from < all.length; from += ASKED_AT_ONCE) {
      const chunk = all.slice(from, from + ASKED_AT_ONCE);
      const change = await changedPort(chunk, `${sysfs}/class/infiniband`, this.#late, this.#deadlineMs);
      if (change !== null) return change;
    }
    return null;
  }

  #sorted(raw: readonly string[]): readonly string[] {
    const last = this.#names.raw;
    if (!sameNames(raw, last)) {
      this.#names = { raw, sorted: [...raw].sort(natural) };
    }
    return this.#names.sorted;
  }

  /** Reads umad and issm nodes again when their names, or the HCAs they could belong to, have changed. */
  async #refreshMads(
    nodes: ReadonlySet<string>,
    depth: Depth,
    marks: ReadonlyMap<string, string | null>,
    turn: Turn,
  ): Promise<void> {
    const here = [...nodes].filter((name) => /^(umad|issm)/.test(name)).join(" ") + "|" +
      (entries(`${this.#roots.sysfs}/class/infiniband_mad`) ?? []).join(" ");
    const sameHcas = marks.size === this.#known.size &&
      [...marks].every(([name, mark]) => this.#known.get(name)?.incarnation === mark);
    if (depth === "full" || here !== this.#madNames || !sameHcas) {
      this.#mads = await readMads(this.#roots.sysfs, this.#roots.dev, nodes, turn);
    }
    this.#madNames = here;
  }

  /** Reads one HCA; returns the reason when it cannot be read. */
  async #readHca(name: string, now: string | null, pass: ScanPass): Promise<Known | string> {
    const { depth, deadline } = pass;
    const dir = `${this.#roots.sysfs}/class/infiniband/${name}`;
    const last = this.#known.get(name);
    const same = last?.incarnation === now ? last.hca : null;
    if (now === null || (same === null && !isDirectory(dir))) {
      return "its directory disappeared while it was being read";
    }

    const whole = same === null || depth === "full" ? this.#readWhole(name, dir, pass, same) : null;
    const carrier = whole !== null && (whole.carrier.dir !== null || same === null) ? whole.carrier : last!.carrier;
    const base = whole?.hca ?? this.#refresh(same!, pass.classNames);
    const answer = await this.#askPorts(
      aboutPorts(base, now),
      dir,
      base.ports,
      whole === null,
      deadline,
    );
    const ports = this.#merge(base, same, dir, answer);
    const mark = netdevMark(carrier.netDirs);
    const settled = whole === null && mark === last!.netdevMark && ports.every((port, i) => port === base.ports[i]);
    const { hca: found, complete } = settled
      ? { hca: base, complete: true }
      : await this.#withNetdevs({ ...base, ports }, carrier, pass.netdevs);
    const notes = answer === null ? [hungNote(name, this.#deadlineMs)] : [];
    const hca = { ...found, notes };
    return {
      incarnation: now,
      hca: same !== null && alike(same, hca) ? same : hca,
      carrier,
      netdevMark: complete ? mark : null,
    };
  }

  /** Reads the few attributes of an HCA that a quick scan updates. */
  #refresh(hca: Hca, classNames: ClassNames): Hca {
    let { pci } = hca;
    if (pci?.sriovTotalVfs) {
      // Uses the function's address: the `device` link of a sub-function ends at an auxiliary device, which has no VFs.
      const sriovNumVfs = countVfs(`${this.#roots.sysfs}/bus/pci/devices/${pci.address}`);
      if (pci.sriovNumVfs !== sriovNumVfs) pci = { ...pci, sriovNumVfs };
    }
    const classNodes = refreshClassNodes(this.#roots.sysfs, this.#roots.dev, hca, classNames);
    return { ...hca, pci, classNodes, uverbs: this.#uverbs.get(hca.name) ?? null };
  }

  #readWhole(
    name: string,
    dir: string,
    { vfIndices, classNames }: ScanPass,
    same: Hca | null,
  ): { readonly hca: Hca; readonly carrier: Carrier } {
    const read = readParentDevice(dir, vfIndices);
    const nodeType = parseNodeType(readLine(`${dir}/node_type`));
    const parent = readOptional(`${dir}/parent`);
    const nodeDesc = readLine(`${dir}/node_desc`);
    const software = isSoftware({ name, parent, nodeDesc, nodeType, driver: read.pci?.driver ?? null });
    const below = software ? { ...read, kind: "virtual" as const, pci: null, sfNumber: null } : read;
    const before = new Map(same?.ports.map((port) => [port.number, port]));
    const ports = portNumbers(dir).map((number) => emptyPort(`${dir}/ports/${number}`, number, before.get(number)));
    const nodeGuid = parseGuid(readLine(`${dir}/node_guid`));
    const peer = netdevPeer(this.#roots.sysfs, { driver: below.pci?.driver ?? null, dir: below.functionDir, nodeGuid });
    const dirs = below.kind === "sf" ? [below.dir] : [below.dir, below.functionDir, peer];
    const carrier = { ...below, parent, netDirs: [...new Set(dirs.flatMap((one) => one ?? []))] };
    const hca: Hca = {
      name,
      nodeType,
      nodeGuid,
      sysImageGuid: parseGuid(readLine(`${dir}/sys_image_guid`)),
      firmware: readLine(`${dir}/fw_ver`),
      boardId: readLine(`${dir}/board_id`),
      hcaType: readLine(`${dir}/hca_type`),
      kind: below.kind,
      transport: "unknown",
      pci: below.pci,
      sfNumber: below.sfNumber,
      sfDevice: below.kind === "sf" && below.dir !== null ? basename(below.dir) : null,
      ports,
      netdevs: [],
      bondNetdevs: [],
      switchdev: false,
      subdeviceOf: null,
      uverbs: this.#uverbs.get(name) ?? null,
      classNodes: readClassNodes(
        this.#roots.sysfs,
        this.#roots.dev,
        { name, kind: below.kind, pci: below.pci },
        classNames,
      ),
      inVerbs: null,
      notes: [],
    };
    return { hca: withLastKnown(hca, same, software), carrier };
  }

  /** Asks the firmware about all ports; null when it did not answer in time. */
  async #askPorts(
    asked: Asked,
    dir: string,
    ports: readonly Port[],
    hasDetails: boolean,
    deadline: Promise<null>,
  ): Promise<readonly AskedPort[] | null> {
    if (this.#late.isPending(asked)) return null;
    const ask = (port: Port) => askPort(`${dir}/ports/${port.number}`, port, hasDetails);
    const answer = inLanes(ports, PORTS_AT_ONCE, ask);
    return await this.#late.inTime(asked, answer, deadline);
  }

  #merge(base: Hca, same: Hca | null, dir: string, answer: readonly AskedPort[] | null): readonly Port[] {
    return base.ports.map((port, i) => {
      const before = same?.ports.find((one) => one.number === port.number);
      const next = withAnswer(port, before, answer?.[i] ?? null, `${dir}/ports/${port.number}`);
      const mads = this.#mads.get(portKey(base.name, port.number)) ?? { umad: null, issm: null };
      return next.umad === mads.umad && next.issm === mads.issm ? next : { ...next, ...mads };
    });
  }

  /** Adds the HCA's net devices, sorted by port. */
  async #withNetdevs(
    hca: Hca,
    carrier: Carrier,
    reader: NetdevReader,
  ): Promise<{ readonly hca: Hca; readonly complete: boolean }> {
    const isSoft = hca.kind === "virtual";
    const own = carrier.parent !== null && isSoft
      ? reader.ofParent(hca.name, carrier.parent)
      : carrier.netDirs.length > 0
      ? await reader.own(carrier.netDirs)
      : NO_NETDEVS;
    const pfDir = hca.kind === "sf" ? carrier.pfDir ?? carrier.functionDir : carrier.pfDir;
    const pf = pfDir === null || isSoft ? NO_NETDEVS : await reader.own([pfDir]);
    const sorted = reader.sort(hca.ports, own, isSoft ? null : carrier.functionDir, !isSoft);
    const pfNetdevs = pf.netdevs.map((one) => one.name);
    const samePf = hca.pci === null || JSON.stringify(hca.pci.pfNetdevs) === JSON.stringify(pfNetdevs);
    return {
      hca: { ...hca, ...sorted, switchdev: own.switchdev, pci: samePf ? hca.pci : { ...hca.pci!, pfNetdevs } },
      complete: own.complete && pf.complete,
    };
  }
}

const NO_NETDEVS: OwnNetdevs = { netdevs: [], away: false, switchdev: false, complete: true };

function sameNames(a: readonly string[], b: readonly string[]): boolean {
  return a.length === b.length && a.every((name, i) => name === b[i]);
}

/** Whether two readings of an HCA are equal. */
function alike(a: Hca, b: Hca): boolean {
  if (
    a.pci === b.pci && a.uverbs === b.uverbs && a.netdevs === b.netdevs && a.notes.length === b.notes.length &&
    a.ports.length === b.ports.length && a.ports.every((port, i) => port === b.ports[i]) && a.firmware === b.firmware &&
    a.classNodes === b.classNodes
  ) return true;
  return JSON.stringify(a) === JSON.stringify(b);
}

function hungNote(name: string, deadlineMs: number): string {
  return `${name} did not report its port states within ${deadlineMs / 1000} s; its firmware or driver hangs, ` +
    "and pods that use it will hang too. See dmesg; a reset of the adapter or of the node fixes it";
}
