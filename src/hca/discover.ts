/**
 * One scan of the machine. Combines sysfs, which says what exists, with libibverbs, which says what user space can use.
 * Where the two disagree, the HCA gets a note for the operator.
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
  /** How long a scan waits for an HCA's firmware, in milliseconds. */
  readonly deadlineMs?: number;
  /** Called when an HCA that missed the deadline has answered. */
  readonly onLateAnswer?: (hca: string) => void;
}

/** Scans the machine repeatedly; returns the same {@link Snapshot} object while nothing changes. */
export class Discovery {
  readonly #sources: DiscoverySources;
  readonly #scanner: SysfsScanner;
  /** Net devices as last seen. The caller may store it across restarts. */
  readonly memory: NetdevMemory;
  #last: Snapshot | null = null;
  #asked: { answer: VerbsAnswer; about: string } | null = null;
  #merged = new WeakMap<Hca, { verbs: VerbsAnswer; hca: Hca }>();

  constructor(sources: DiscoverySources) {
    this.#sources = sources;
    this.#scanner = new SysfsScanner(sources.roots, sources.deadlineMs, sources.onLateAnswer);
    this.memory = this.#scanner.memory;
  }

  /** Scans the machine. Not re-entrant: the caller waits for a scan before it starts the next. */
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
   * What differs from the last scan, as far as a few cheap reads can tell: the state of a port, a name that was added
   * or removed. Null when nothing does. Changes nothing itself: a scan follows.
   */
  poll(): Promise<string | null> {
    return this.#scanner.poll();
  }

  /**
   * HCAs of the last scan that are in a pod's network namespace now. In exclusive mode the class entry moves with the
   * HCA while its PCI function stays bound to the driver; unloading the driver or removing a VF removes that binding as
   * well. One that is here under a name that is new was renamed.
   */
  #inPodNetns(hcas: readonly Hca[]): readonly Hca[] {
    const known = [...this.#last?.hcas ?? [], ...this.#last?.inPodNetns ?? []];
    const names = new Set(known.map((hca) => hca.name));
    const here = new Set(hcas.map((hca) => hca.name));
    const added = hcas.filter((hca) => !names.has(hca.name));
    const isRenamed = (hca: Hca) =>
      added.some(({ pci, nodeGuid }) => pci?.address === hca.pci?.address && nodeGuid === hca.nodeGuid);
    return known.filter((hca) =>
      !here.has(hca.name) && hca.pci !== null && !isRenamed(hca) &&
      exists(`${this.#sources.roots.sysfs}/bus/pci/devices/${hca.pci.address}/driver`)
    ).toSorted((a, b) => natural(a.name, b.name));
  }

  /** Asks libibverbs in full scans, and when the set of HCAs and nodes changed since it was last asked. */
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

/** libibverbs expects nodes at a fixed path and needs a provider; both are those of this container, not of the pod. */
const NOT_LISTED = "the node is not at /dev/infiniband in this mount namespace, or no provider library of this " +
  "image supports the adapter (ibverbs-providers). Pods use their own libibverbs, so the HCA is offered nevertheless";

/** Notes for the operator about one HCA. */
function notesOn(hca: Hca, verbs: VerbsAnswer): string[] {
  if (hca.subdeviceOf !== null) {
    return [`${hca.name} is an SMI sub-device of ${hca.subdeviceOf}: by design it has no uverbs node and needs none`];
  }
  if (hca.uverbs === null) {
    return [
      `${hca.name} has no uverbs node in sysfs, so user space cannot use it; ` +
      "load the module (modprobe ib_uverbs) or check dmesg for errors of its driver",
    ];
  }
  if (hca.uverbs.stale !== undefined) {
    return [
      `${hca.name} is ${hca.uverbs.name} (${hca.uverbs.dev}) in sysfs, but /dev/infiniband/${hca.uverbs.name} is ` +
      `${hca.uverbs.stale}: remove it, then udevadm trigger; in a container mount the host's /dev instead of a copy`,
    ];
  }
  if (!hca.uverbs.present) {
    return [
      `${hca.name} is in sysfs, but /dev/infiniband/${hca.uverbs.name} is missing in this mount namespace; ` +
      "mount the host's /dev into the container, or check that udev runs on the host",
    ];
  }
  if (verbs.kind === "list") {
    const other = verbs.devices.find((one) => one.name === hca.name);
    if (other !== undefined && other.uverbs !== hca.uverbs.name) {
      return [
        `${hca.name} is ${hca.uverbs.name} in sysfs and ${other.uverbs} in libibverbs; one of the two is out of date`,
      ];
    }
    if (other === undefined) {
      return [
        `${hca.name} is in sysfs with ${hca.uverbs.name}, but libibverbs here does not list it: ${NOT_LISTED}`,
      ];
    }
  }
  return [];
}

function machineNotes(view: SysfsView, verbs: VerbsAnswer): readonly string[] {
  const notes: string[] = [];
  if (!view.rdmaLoaded) {
    notes.push("class/infiniband does not exist in sysfs: no RDMA driver is loaded on this machine (yet)");
  } else if (view.hcas.length === 0) {
    notes.push(
      "class/infiniband in sysfs is empty: the RDMA core is loaded, but no driver has registered an adapter (yet)",
    );
  }
  if (view.unlisted > 0) {
    notes.push(
      `class/infiniband in sysfs has ${view.unlisted} more unreadable entries that are not listed; ` +
        "a kernel does not create such entries: check that the host's /sys is mounted",
    );
  }
  // EFA has no connection manager, so nothing is missing on a machine that has nothing else.
  if (!view.rdmaCm && view.hcas.some((hca) => hca.transport !== "EFA")) {
    notes.push(
      "/dev/infiniband/rdma_cm does not exist: pods do not get it, and RDMA CM connections will fail; run modprobe rdma_ucm",
    );
  }
  if (verbs.kind === "no-library" || verbs.kind === "failed") {
    notes.push(`libibverbs is not available (${verbs.detail}); only sysfs is used`);
  }
  const usable = view.hcas.filter((hca) => hca.uverbs?.present).length;
  if (usable > 0 && (verbs.kind === "empty" || verbs.kind === "no-kernel-support")) {
    notes.push(`libibverbs here lists none of the ${usable} HCAs that have a uverbs node: ${NOT_LISTED}`);
  }
  const extra = verbs.kind === "list" ? verbs.devices.filter((d) => !view.hcas.some((h) => h.name === d.name)) : [];
  for (const unknown of extra.toSorted((a, b) => natural(a.name, b.name))) {
    notes.push(`libibverbs lists ${unknown.name}, but sysfs here does not show it: is the host's /sys mounted?`);
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
