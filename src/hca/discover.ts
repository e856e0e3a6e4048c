/**
 * One scan of the machine: what sysfs says exists, what libibverbs says user space can drive, and where the two do not
 * agree. Neither decides alone, and a disagreement is a sentence for the operator, never a silent zero.
 *
 * @module
 */
import { natural } from "../text/natural.ts";
import { exists } from "./files.ts";
import type { NetdevMemory } from "./netdev_memory.ts";
import { type Roots, SysfsScanner, type SysfsView } from "./sysfs.ts";
import type { Depth } from "./events/trigger.ts";
import type { Hca, NetnsMode, Snapshot, VerbsAnswer } from "./types.ts";
import type { Verbs } from "./verbs.ts";

/** What a {@link Discovery} reads from. */
export interface DiscoverySources {
  readonly roots: Roots;
  readonly verbs: Verbs;
  readonly netnsMode: () => NetnsMode;
  /** Milliseconds that a scan waits for an HCA's firmware. */
  readonly deadlineMs?: number;
  /** Called when an HCA that missed the deadline has answered after all. */
  readonly onLateAnswer?: (hca: string) => void;
}

/** Scans of the machine again and again; an unchanged machine gives the same {@link Snapshot} object. */
export class Discovery {
  readonly #sources: DiscoverySources;
  readonly #scanner: SysfsScanner;
  /** Net devices as last seen, which the caller may keep from one process to the next. */
  readonly memory: NetdevMemory;
  #last: Snapshot | null = null;
  #asked: { answer: VerbsAnswer; about: string } | null = null;
  #merged = new WeakMap<Hca, { verbs: VerbsAnswer; hca: Hca }>();

  constructor(sources: DiscoverySources) {
    this.#sources = sources;
    this.#scanner = new SysfsScanner(sources.roots, sources.deadlineMs, sources.onLateAnswer);
    this.memory = this.#scanner.memory;
  }

  /** Reads the machine. One at a time: the caller waits for a scan before it starts the next. */
  async scan(depth: Depth): Promise<Snapshot> {
    // The library loads its providers at the first question: at a start both are read side by side.
    const early = this.#last === null ? this.#sources.verbs.list() : null;
    const [view] = await Promise.all([this.#scanner.scan(depth), early]);
    const verbs = await this.#askVerbs(view, depth, early);
    const netnsMode = depth === "full" || this.#last === null ? this.#sources.netnsMode() : this.#last.netnsMode;
    const hcas = view.hcas.map((hca) => this.#merge(hca, verbs));
    const inPodNetns = netnsMode === "exclusive" ? this.#inPodNetns(hcas) : [];
    const next: Snapshot = {
      hcas: sameList(hcas, this.#last?.hcas),
      inPodNetns: sameList(inPodNetns, this.#last?.inPodNetns),
      verbs,
      rdmaCm: view.rdmaCm,
      knem: view.knem,
      netnsMode,
      unreadable: view.unreadable,
      notes: machineNotes(view, verbs),
    };
    if (this.#last === null || !sameSnapshot(this.#last, next)) this.#last = next;
    return this.#last;
  }

  /**
   * HCAs of the last scan that are in a pod's network namespace now. In exclusive mode the class entry goes with the
   * HCA, while its PCI function stays bound to its driver; a driver unload or a VF's end takes that away, too.
   */
  #inPodNetns(hcas: readonly Hca[]): readonly Hca[] {
    const here = new Set(hcas.map((hca) => hca.name));
    return [...this.#last?.hcas ?? [], ...this.#last?.inPodNetns ?? []].filter((hca) =>
      !here.has(hca.name) && hca.pci !== null &&
      exists(`${this.#sources.roots.sysfs}/bus/pci/devices/${hca.pci.address}/driver`)
    ).toSorted((a, b) => natural(a.name, b.name));
  }

  /** The library is asked in full scans, and when the set of HCAs and nodes is not the one it was asked about. */
  async #askVerbs(view: SysfsView, depth: Depth, early: Promise<VerbsAnswer> | null): Promise<VerbsAnswer> {
    const about = view.hcas.map((hca) => `${hca.name}=${hca.uverbs?.name}:${hca.uverbs?.present}`).join(" ");
    if (this.#asked !== null && this.#asked.about === about && depth === "quick") return this.#asked.answer;
    const answer = await (early ?? this.#sources.verbs.list());
    const old = this.#asked?.answer;
    this.#asked = { answer: old !== undefined && JSON.stringify(old) === JSON.stringify(answer) ? old : answer, about };
    return this.#asked.answer;
  }

  #merge(hca: Hca, verbs: VerbsAnswer): Hca {
    const known = this.#merged.get(hca);
    if (known?.verbs === verbs) return known.hca;
    const merged = { ...hca, inVerbs: listed(hca, verbs), notes: [...hca.notes, ...notesOn(hca, verbs)] };
    this.#merged.set(hca, { verbs, hca: merged });
    return merged;
  }
}

/** Whether libibverbs lists the HCA under the same name and node; null when it could not be asked. */
function listed(hca: Hca, verbs: VerbsAnswer): boolean | null {
  if (verbs.kind === "list") {
    return verbs.devices.some((one) => one.name === hca.name && one.uverbs === hca.uverbs?.name);
  }
  return verbs.kind === "empty" || verbs.kind === "no-kernel-support" ? false : null;
}

/** The library looks at a fixed path, and for a provider; both are this container's and not the pod's. */
const WHY_NOT_LISTED = "the node is not at /dev/infiniband in this mount namespace, or no provider library of this " +
  "image knows the adapter (ibverbs-providers). Pods bring a library of their own, so it is offered all the same";

/** What an operator should know about one HCA. */
function notesOn(hca: Hca, verbs: VerbsAnswer): string[] {
  if (hca.subdeviceOf !== null) {
    return [`${hca.name} is an SMI sub-device of ${hca.subdeviceOf}: it has no uverbs node by design, and needs none`];
  }
  if (hca.uverbs === null) {
    return [
      `${hca.name} has no uverbs node in sysfs, so nothing in user space can drive it; ` +
      "load the module (modprobe ib_uverbs) or see dmesg for why its driver offers none",
    ];
  }
  if (!hca.uverbs.present) {
    return [
      `${hca.name} is in sysfs, but /dev/infiniband/${hca.uverbs.name} is missing in this mount namespace; ` +
      "mount the host's /dev into the container, or see whether udev runs on the host",
    ];
  }
  if (verbs.kind === "list") {
    const other = verbs.devices.find((one) => one.name === hca.name);
    if (other !== undefined && other.uverbs !== hca.uverbs.name) {
      return [`${hca.name} is ${hca.uverbs.name} for sysfs and ${other.uverbs} for libibverbs; one of them is older`];
    }
    if (other === undefined) {
      return [
        `${hca.name} is in sysfs with ${hca.uverbs.name}, but libibverbs here does not list it: ${WHY_NOT_LISTED}`,
      ];
    }
  }
  return [];
}

function machineNotes(view: SysfsView, verbs: VerbsAnswer): readonly string[] {
  const notes: string[] = [];
  if (!view.rdmaLoaded) {
    notes.push("there is no class/infiniband in sysfs: no RDMA driver is loaded on this machine (yet)");
  } else if (view.hcas.length === 0) {
    notes.push("class/infiniband in sysfs is empty: RDMA is loaded, but no adapter has come up (yet)");
  }
  if (view.untold > 0) {
    notes.push(
      `class/infiniband in sysfs has ${view.untold} more entries that cannot be read than are told one by one; ` +
        "this is nothing that a kernel does: is the right directory mounted as the host's /sys?",
    );
  }
  if (view.hcas.length > 0 && !view.rdmaCm) {
    notes.push(
      "there is no /dev/infiniband/rdma_cm: pods get none, connections by RDMA CM will fail; modprobe rdma_ucm",
    );
  }
  if (verbs.kind === "no-library" || verbs.kind === "failed") {
    notes.push(`libibverbs cannot be asked for its opinion (${verbs.detail}); sysfs decides alone`);
  }
  const usable = view.hcas.filter((hca) => hca.uverbs?.present).length;
  if (usable > 0 && (verbs.kind === "empty" || verbs.kind === "no-kernel-support")) {
    notes.push(`libibverbs here lists none of the ${usable} HCAs that have a uverbs node: ${WHY_NOT_LISTED}`);
  }
  const strangers = verbs.kind === "list" ? verbs.devices.filter((d) => !view.hcas.some((h) => h.name === d.name)) : [];
  for (const stranger of strangers.toSorted((a, b) => natural(a.name, b.name))) {
    notes.push(`libibverbs lists ${stranger.name}, but sysfs here does not show it: is the host's /sys mounted?`);
  }
  return notes;
}

function sameList<T>(next: readonly T[], last: readonly T[] | undefined): readonly T[] {
  return last !== undefined && next.length === last.length && next.every((one, i) => one === last[i]) ? last : next;
}

function sameSnapshot(a: Snapshot, b: Snapshot): boolean {
  return a.hcas === b.hcas && a.inPodNetns === b.inPodNetns && a.verbs === b.verbs && a.rdmaCm === b.rdmaCm &&
    a.knem === b.knem &&
    a.netnsMode === b.netnsMode &&
    JSON.stringify([a.unreadable, a.notes]) === JSON.stringify([b.unreadable, b.notes]);
}
