/**
 * sysfs trees: a machine with one HCA of each kind, of which a few are spoilt.
 *
 * @module
 */
import { deepEqual, equal } from "@std/assert";
import { existsSync, mkdirSync, readdirSync, readFileSync, realpathSync } from "node:fs";
import { basename, dirname, join } from "node:path";
import * as fc from "fast-check";
import { Discovery } from "../../../src/hca/discover.ts";
import { natural } from "../../../src/text/natural.ts";
import { readNetnsMode } from "../../../src/hca/netns_mode.ts";
import type { Hca, Snapshot } from "../../../src/hca/types.ts";
import { withoutUnprintable } from "../../../src/text/printable.ts";
import { type PoolStates, track } from "../../../src/pool/states.ts";
import { select } from "../../../src/pool/select.ts";
import { DEFAULT_SPEC } from "../../../src/pool/spec.ts";
import { FakeHost, preset } from "../../../sim/mod.ts";
import { memoryDir, within } from "../../support/temp.ts";
import { LONGEST_CASE, type Prepared, type Target } from "../target.ts";
import { type Spoilt, TornTree } from "../torn_tree.ts";
import { clean, must, sentence } from "../words.ts";
import { discoveryOn } from "../../support/discovery.ts";

/** What of an HCA's directory is read; numbers as in the presets. */
const OWN = ["", "node_type", "node_guid", "sys_image_guid", "fw_ver", "board_id", "hca_type", "parent", "device"]
  .concat(["ports", "ports/1", "ports/2", "ports/999", "ports/1/gids", "ports/1/pkeys", "ports/1/gid_attrs"])
  .concat(["state", "state", "phys_state", "rate", "lid", "sm_lid", "link_layer"].map((name) => `ports/1/${name}`))
  .concat(["pkeys/0", "gids/0", "gids/1", "gid_attrs/types/0", "gid_attrs/ndevs/0"].map((name) => `ports/1/${name}`));
/** What of the PCI function below it is read. */
const PCI = ["vendor", "device", "driver", "modalias", "numa_node", "physfn", "net", "virtfn0", "virtfn77"]
  .concat(["sriov_numvfs", "sriov_totalvfs"]);
const VERBS = ["", "ibdev", "ibdev", "dev", "abi_version"];
const MAD = ["", "ibdev", "port"];

/** One thing that is wrong with the machine; numbers choose among what it has. */
type Fault =
  | { readonly in: "hca" | "pci" | "verbs" | "mad" | "node"; readonly of: number; file: number; by: Spoilt }
  /** An entry too many in a class directory; `ibdev` is what it says in the classes of nodes. */
  | { readonly in: "class"; readonly class: string; readonly name: string; readonly ibdev: string; by: Spoilt }
  /** A whole class directory. */
  | { readonly in: "whole"; readonly class: string; readonly by: Spoilt };

const WORDS = ["4: ACTIVE", "1: DOWN", "04: ACTIVE", "4:ACTIVE", "99: x", "0x15b3", "-1", "99999999999", "uverbs0"]
  .concat([
    "0",
    "1",
    "mlx5_9",
    "../../../x",
    "\u001b[2J",
    "a\u0000b",
    "\n\n4: ACTIVE",
    "\ufeff4: ACTIVE",
    "\u202eEVITCA",
    "a\u2028b",
    "é💥",
    " ",
  ])
  .concat(["__proto__", "constructor", "fe80:0000:0000:0000:0000:0000:0000:0001", "InfiniBand", "100 Gb/sec"]);

const fileName = fc.oneof(
  fc.constantFrom(
    ...WORDS.filter((word) => !/[/\0]/.test(word)),
    "mlx5_77",
    "uverbs77",
    "umad77",
    "virtfn9",
    "9",
    "a b",
  ),
  fc.string({ minLength: 1, maxLength: 80, unit: "binary" }).map((name) =>
    name.replaceAll(/[/\0]|[\ud800-\udfff]/g, "_")
  ),
).map((name) => name === "." || name === ".." ? "dots" : name);

const spoilt: fc.Arbitrary<Spoilt> = fc.oneof(
  fc.record({ kind: fc.constant("torn" as const), bytes: fc.nat(12) }),
  fc.record({ kind: fc.constant("bytes" as const), bytes: fc.uint8Array({ maxLength: 64 }) }),
  fc.record({ kind: fc.constant("text" as const), text: fc.constantFrom(...WORDS) }),
  fc.record({
    kind: fc.constant("huge" as const),
    piece: fc.constantFrom("a", "4: ACTIVE", "\0", "1\n", "0x1"),
    kib: fc.integer({ min: 5, max: 512 }),
  }),
  fc.constant({ kind: "gone" as const }),
  fc.record({ kind: fc.constant("directory" as const), entries: fc.uniqueArray(fileName, { maxLength: 4 }) }),
  fc.record({
    kind: fc.constant("link" as const),
    to: fc.constantFrom("self", "up", "nowhere", "..", "../..", "top", "../\u001b[2J/x\n", "../../../../.."),
  }),
);

const index = fc.nat(99);
const fault: fc.Arbitrary<Fault> = fc.oneof(
  { weight: 12, arbitrary: fc.record({ in: fc.constant("hca" as const), of: index, file: index, by: spoilt }) },
  {
    weight: 8,
    arbitrary: fc.record({
      in: fc.constantFrom("pci" as const, "verbs" as const, "mad" as const, "node" as const),
      of: index,
      file: index,
      by: spoilt,
    }),
  },
  {
    weight: 4,
    arbitrary: fc.record({
      in: fc.constant("class" as const),
      class: fc.constantFrom("infiniband", "infiniband_verbs", "infiniband_mad"),
      name: fileName,
      ibdev: fc.constantFrom("nobody", "mlx5_77", "", "../x", "\u001b"),
      by: spoilt,
    }),
  },
  {
    weight: 1,
    arbitrary: fc.record({
      in: fc.constant("whole" as const),
      class: fc.constantFrom("infiniband", "infiniband_verbs", "infiniband_mad", "misc", "net"),
      by: spoilt,
    }),
  },
);

/** Names in a directory; none when it is none. */
function names(dir: string): string[] {
  try {
    return readdirSync(dir);
  } catch {
    return []; // spoilt by this case
  }
}

/** The machine, and what its parts are called on disk. */
class Rig {
  /** What stands for the root of the file system: links may lead there, and the machine's own changes all the time. */
  readonly #top = memoryDir();
  readonly host: FakeHost;
  readonly tree: TornTree;
  readonly hcas: ReturnType<FakeHost["describe"]>;
  readonly tally: Record<"healthy" | "unhealthy" | "unreadable" | "vanished", number>;

  constructor(machine: string, tally: Rig["tally"] = { healthy: 0, unhealthy: 0, unreadable: 0, vanished: 0 }) {
    const top = this.#top.path;
    for (const name of ["bin", "etc/infiniband", "proc/1/fd"]) mkdirSync(join(top, name), { recursive: true });
    // So deep that no link of a fault leads out of it.
    const root = join(top, "run/kubelet/a/machine");
    mkdirSync(root, { recursive: true });
    this.host = FakeHost.create(root, preset(machine));
    this.tree = new TornTree(root, top);
    this.hcas = this.host.describe();
    this.tally = tally;
  }

  close(): void {
    this.host.close();
    this.#top[Symbol.dispose]();
  }

  /** Spoils the machine; gives the names of HCAs that are not promised to be as before, null for all of them. */
  apply(faults: readonly Fault[]): ReadonlySet<string> | null {
    const touched = new Set<string>();
    let all = false;
    for (const one of faults) {
      const sysfs = realpathSync(this.host.sysfsRoot);
      if (one.in === "whole") {
        all = this.tree.spoil(join(sysfs, "class", one.class), one.by) || all;
      } else if (one.in === "class") {
        const path = join(sysfs, "class", one.class, one.name);
        if (existsSync(path) || names(join(sysfs, "class", one.class)).includes(one.name)) continue;
        this.tree.spoil(path, one.by);
        if (one.by.kind === "directory") this.tree.spoil(join(path, "ibdev"), { kind: "text", text: one.ibdev });
      } else {
        const hca = this.hcas[one.of % this.hcas.length]!;
        const path = this.#pathOf(one.in, hca, one.file);
        if (path === null || !this.tree.spoil(path, one.by)) continue;
        touched.add(hca.name);
        // Two RDMA devices of one function are told apart by what both say.
        for (const other of this.hcas) {
          if (this.#carrierOf(other.name) === this.#carrierOf(hca.name)) touched.add(other.name);
        }
        // What is written at a PCI function is about everything on it, and a PF's about its VFs.
        if (one.in !== "pci") continue;
        for (const other of this.hcas) {
          if (other.pci === hca.pci || other.pf === hca.name) touched.add(other.name);
          if (this.hcas.some((pf) => pf.name === other.pf && pf.pci === hca.pci)) touched.add(other.name);
        }
      }
    }
    return all ? null : touched;
  }

  #carrierOf(name: string): string {
    return dirname(dirname(this.host.hcaPath(name)));
  }

  #pathOf(where: Exclude<Fault["in"], "class" | "whole">, hca: Rig["hcas"][number], file: number): string | null {
    const sysfs = realpathSync(this.host.sysfsRoot);
    const pick = (names: readonly string[]) => names[file % names.length]!;
    const entry = (group: string, node: string | undefined | null, names: readonly string[]) => {
      if (node === undefined || node === null) return null;
      try {
        const real = realpathSync(join(sysfs, "class", group, node));
        // An earlier fault of this case may have made it a link to something else, which has other owners.
        return basename(real) === node ? join(real, pick(names)) : null;
      } catch {
        return null; // an earlier fault of this case has spoilt the class
      }
    };
    switch (where) {
      case "hca": {
        const name = pick(OWN);
        // The entry of the class itself, and not what it leads to: that it vanishes or leads elsewhere.
        if (name === "" && file % 2 === 0) return join(sysfs, "class/infiniband", hca.name);
        return join(this.host.hcaPath(hca.name), name);
      }
      case "pci":
        return entry("../bus/pci/devices", hca.pci, PCI);
      case "verbs":
        return entry("infiniband_verbs", hca.uverbs, VERBS);
      case "mad":
        return entry("infiniband_mad", hca.umads[0], MAD);
      case "node":
        return hca.uverbs === null ? null : join(realpathSync(this.host.devRoot), "infiniband", hca.uverbs);
    }
  }

  discovery(): Discovery {
    return discoveryOn(this.host, {
      netnsMode: () => readNetnsMode(this.host.sysfsRoot, { fake: true }),
      // Nothing here hangs, and a machine that is busy with other work must not look as if something did.
      deadlineMs: LONGEST_CASE,
    });
  }

  /** Names in class/infiniband, by a plain listing. */
  classEntries(): string[] {
    return names(join(this.host.sysfsRoot, "class/infiniband")).filter((name) => !name.startsWith("."));
  }

  /**
   * Whether a pod could use the HCA, read the plain way: a node that says it is this HCA's, and an active port. Of a VF or SF
   * the node is enough, and of a function whose net device is not here: their links are raised inside pods.
   */
  usable(name: string): boolean {
    const { sysfsRoot, devRoot } = this.host;
    const first = (path: string) => {
      try {
        return withoutUnprintable(readFileSync(path, "utf8").split("\n")[0]!).trim();
      } catch {
        return "";
      }
    };
    const verbs = join(sysfsRoot, "class/infiniband_verbs");
    const ports = join(sysfsRoot, "class/infiniband", name, "ports");
    const nodes = names(join(devRoot, "infiniband"));
    const hca = this.hcas.find((one) => one.name === name);
    // By its `device` link, as a driver's user sees it: where that link is spoilt, the function is not known any more.
    const net = join(sysfsRoot, "class/infiniband", name, "device/net");
    const raised = hca?.kind !== "vf" && hca?.kind !== "sf" && (hca?.kind === "virtual" || names(net).length > 0);
    return names(verbs).some((node) => first(join(verbs, node, "ibdev")) === name && nodes.includes(node)) &&
      (!raised || names(ports).some((port) => /^0*4:/.test(first(join(ports, port, "state")))));
  }
}

/** What holds for every snapshot, whatever the machine looks like. */
function sound(rig: Rig, snapshot: Snapshot): void {
  clean(snapshot, "snapshot");
  const found = snapshot.hcas.map((hca) => hca.name);
  deepEqual(found, found.toSorted(natural), "HCAs are in natural order");
  equal(new Set(found).size, found.length, "no HCA twice");
  const entries = rig.classEntries();
  // A name that cannot be printed is told in another way, but it is counted.
  equal(found.length + snapshot.unreadable.length, entries.length, "every entry is an HCA or told as unreadable");
  for (const name of found) must(entries.includes(name), `${name} is not in class/infiniband`);
  for (const { name, reason } of snapshot.unreadable) {
    sentence(reason, `the reason why ${JSON.stringify(name)} cannot be read`);
    must(name.length <= 300, "a name for people");
  }
  for (const note of [...snapshot.notes, ...snapshot.hcas.flatMap((hca) => hca.notes)]) {
    sentence(note, "note");
  }
  for (const hca of snapshot.hcas) {
    if (hca.uverbs === null || !hca.uverbs.present) must(hca.notes.length > 0, `${hca.name} without a node, unsaid`);
    must(hca.ports.every((port) => port.number >= 0 && port.number < 1_000), `port numbers of ${hca.name}`);
  }
}

/** What the kubelet would be told. */
function offered(rig: Rig, snapshot: Snapshot, before: PoolStates, untouched: (name: string) => boolean): PoolStates {
  const selection = select([DEFAULT_SPEC], snapshot);
  const { states, changes } = track(before, selection, new Map(), before.size === 0 ? 0 : 10);
  for (const change of changes) sentence(change.reason, `why ${change.device} is ${change.to}`, 10_000);
  for (const [id, deviceState] of states.get(DEFAULT_SPEC.name)?.deviceStates ?? []) {
    if (deviceState.healthy) {
      rig.tally.healthy++;
      must(rig.usable(id), `${id} is Healthy, and no pod could use it`);
    } else {
      if (deviceState.present) rig.tally.unhealthy++;
      else rig.tally.vanished++;
      sentence(deviceState.reason, `why ${id} is Unhealthy`, 10_000);
      must(!untouched(id), `${id} is Unhealthy and nothing is wrong with it: ${deviceState.reason}`);
    }
  }
  return states;
}

/** Without the rate of a port when it was up last, which is a memory and no fact about now. */
function remembersNothing(snapshot: Snapshot): Snapshot {
  const hcas = snapshot.hcas.map((hca) => ({
    ...hca,
    ports: hca.ports.map((port) => ({ ...port, upRateGbps: null })),
  }));
  return { ...snapshot, hcas };
}

async function check(rig: Rig, baseline: Snapshot, faults: readonly Fault[]): Promise<void> {
  const discovery = rig.discovery();
  const look = (depth: "quick" | "full") => within(discovery.scan(depth), `a ${depth} look`, LONGEST_CASE);
  deepEqual(remembersNothing(await look("full")), baseline);
  const states = offered(rig, baseline, new Map(), () => false);
  const good = new Map(baseline.hcas.map((hca): [string, Hca] => [hca.name, hca]));
  try {
    const touched = rig.apply(faults);
    const untouched = (name: string) => touched !== null && good.has(name) && !touched.has(name);
    for (const depth of ["quick", "full"] as const) {
      const snapshot = await look(depth);
      sound(rig, snapshot);
      offered(rig, snapshot, states, untouched);
      for (const [name, hca] of good) {
        if (!untouched(name)) continue;
        const found = remembersNothing(snapshot).hcas.find((one) => one.name === name);
        deepEqual(found, hca, `${name}, ${depth} look`);
      }
      if (depth === "full") {
        rig.tally.unreadable += snapshot.unreadable.length;
        equal(await look("full"), snapshot, "a machine that did not change gives the same snapshot");
      }
    }
  } finally {
    rig.tree.fix();
  }
  deepEqual(remembersNothing(await look("full")), baseline, "a machine that is fixed is as it was");
}

export const sysfs: Target = {
  name: "sysfs",
  promise: "however a part of sysfs is spoilt, a scan ends, HCAs that are whole stay offered as they were, no device " +
    "that a pod could not use is Healthy, every other is reported with a reason, and fixing fixes",
  kinds: ["healthy", "unhealthy", "unreadable", "vanished"],
  async prepare(): Promise<Prepared> {
    const rig = new Rig("mixed");
    const baseline = remembersNothing(await rig.discovery().scan("full"));
    must(baseline.hcas.length === rig.hcas.length && basename(rig.host.sysfsRoot) === "sys", "the machine is whole");
    return {
      property: fc.asyncProperty(
        fc.array(fault, { minLength: 1, maxLength: 6 }),
        (faults) => check(rig, baseline, faults),
      ),
      tally: rig.tally,
      [Symbol.asyncDispose]: () => Promise.resolve(rig.close()),
    };
  },
};

/** Machines after public reports: two RDMA devices on one function, ports that differ, software on a NIC's function. */
const MACHINES = ["smi-subdevice", "vpi", "roce-lag", "soft-old-kernel", "switchdev", "vfs-down"];

export const machines: Target = {
  ...sysfs,
  name: "machines",
  kinds: ["healthy", "unhealthy", "vanished"],
  async prepare(): Promise<Prepared> {
    const tally = { healthy: 0, unhealthy: 0, unreadable: 0, vanished: 0 };
    const ready = await Promise.all(MACHINES.map(async (name) => {
      const rig = new Rig(name, tally);
      return { rig, baseline: remembersNothing(await rig.discovery().scan("full")) };
    }));
    return {
      property: fc.asyncProperty(
        fc.nat(MACHINES.length - 1),
        fc.array(fault, { minLength: 1, maxLength: 6 }),
        (which, faults) => check(ready[which]!.rig, ready[which]!.baseline, faults),
      ),
      tally,
      [Symbol.asyncDispose]: () => Promise.resolve(ready.forEach(({ rig }) => rig.close())),
    };
  },
};
