/**
 * Changes of existing HCAs: ports, GIDs, names, numbers, namespaces. Each yields between its steps, where a reader may
 * see intermediate states, and returns the event lines.
 *
 * @module
 */
import type { Kernel } from "./kernel.ts";
import { type HcaObject, madsOf, newHca, type PortObject, type Steps } from "./objects.ts";
import { gidFiles, linkFiles, linkOf } from "./tree.ts";
import type { GidDescription } from "./types.ts";

function portOf(hca: HcaObject, number: number): PortObject {
  const port = hca.ports[number - 1];
  if (port !== undefined) return port;
  throw new RangeError(`Cannot find port ${number} of ${hca.name}: it has ${hca.ports.length}`);
}

/**
 * Changes the port's files, then those of its net devices. The port of an HCA that is not visible changes without
 * files.
 */
export function* setPort(kernel: Kernel, hca: HcaObject, number: number, state: string, physState: string): Steps {
  const port = portOf(hca, number);
  port.state = state;
  port.physState = physState;
  if (hca.where !== "here") return [];
  const path = `${kernel.pathOf(hca)}/ports/${number}`;
  kernel.sys.file(`${path}/phys_state`, physState);
  yield;
  kernel.sys.file(`${path}/state`, state);
  const link = linkFiles(linkOf(state, physState));
  for (const netdev of hca.netdevs.filter((one) => (one.port ?? 1) === number && !hca.netdevsInPod)) {
    const below = kernel.netdevPath(hca, netdev);
    kernel.sys.file(`${below}/operstate`, link.operstate);
    kernel.sys.file(`${below}/flags`, link.flags);
    if (link.carrier === undefined) kernel.sys.remove(`${below}/carrier`);
    else kernel.sys.file(`${below}/carrier`, link.carrier);
  }
  return [`change ${hca.name} port ${number} ${state} ${physState}`];
}

/** An address change: the attributes of the old GIDs become unreadable before the new ones exist. */
export function* setGids(kernel: Kernel, hca: HcaObject, number: number, gids: readonly GidDescription[]): Steps {
  const port = portOf(hca, number);
  port.gids = gids;
  if (hca.where !== "here") return [];
  const path = `${kernel.pathOf(hca)}/ports/${number}`;
  kernel.sys.remove(`${path}/gid_attrs/ndevs`);
  kernel.sys.remove(`${path}/gid_attrs/types`);
  yield;
  kernel.sys.merge(path, gidFiles(port.description, gids));
  return [`change ${hca.name} port ${number} gids`];
}

/**
 * A CNI plugin moves the net devices into a pod while the HCA stays: they disappear, the ports go down, and the GID
 * tables are emptied. In the pod they have other names.
 */
export function* netdevsLeave(kernel: Kernel, hca: HcaObject): Steps {
  const lines: string[] = [];
  kernel.unplugNetdevs(hca);
  hca.netdevsInPod = true;
  yield;
  for (const { number } of hca.ports) {
    lines.push(...yield* setPort(kernel, hca, number, "1: DOWN", "3: Disabled"));
    yield;
    lines.push(...yield* setGids(kernel, hca, number, []));
  }
  return lines;
}

/** The pod has ended: the net devices are back with their old names, and up. */
export function* netdevsReturn(kernel: Kernel, hca: HcaObject): Steps {
  const lines: string[] = [];
  kernel.plugNetdevs(hca);
  yield;
  for (const port of hca.ports) {
    lines.push(
      ...yield* setGids(
        kernel,
        hca,
        port.number,
        newHca(hca.description, hca.pf, hca.vfIndex).ports[port.number - 1]!.gids,
      ),
    );
    yield;
    lines.push(...yield* setPort(kernel, hca, port.number, "4: ACTIVE", "5: LinkUp"));
  }
  return lines;
}

/** Removes all the uverbs entries, then adds them one by one with their new numbers. */
export function* renumber(kernel: Kernel, changes: readonly (readonly [HcaObject, number | null])[]): Steps {
  const moved = changes.map(([hca]) => hca);
  const away = moved.find((hca) => hca.where !== "here");
  if (away !== undefined) throw new Error(`Cannot renumber ${away.name}: it is not visible on the host`);
  for (const hca of moved) kernel.unplugUverbs(hca);
  yield;
  const lines = moved.map((hca) => `remove ${hca.name} uverbs${hca.uverbs}`);
  for (const [hca, number] of changes) hca.uverbs = number;
  for (const hca of moved) {
    kernel.plugUverbs(hca);
    lines.push(`add ${hca.name} uverbs${hca.uverbs}`);
    yield;
  }
  return lines;
}

/**
 * Renames object and class link, as the kernel does; `ibdev` of its nodes follows, and the nodes keep their numbers.
 */
export function* rename(kernel: Kernel, hca: HcaObject, name: string): Steps {
  const [before, old] = [kernel.pathOf(hca), hca.name];
  hca.name = name;
  if (hca.where !== "here") return [];
  kernel.sys.move(before, kernel.pathOf(hca));
  kernel.sys.link(`/class/infiniband/${name}`, kernel.pathOf(hca));
  kernel.sys.remove(`/class/infiniband/${old}`);
  yield;
  if (hca.uverbs !== null) kernel.sys.file(`/class/infiniband_verbs/uverbs${hca.uverbs}/ibdev`, name);
  yield;
  for (const [kind, number] of madsOf(hca)) kernel.sys.file(`/class/infiniband_mad/${kind}${number}/ibdev`, name);
  return [`move ${old} ${name}`];
}

/** Shows or hides the uverbs node in /dev, without changing its sysfs entry. */
// deno-lint-ignore require-yield
export function* showNode(kernel: Kernel, hca: HcaObject, shown: boolean): Steps {
  kernel.showNode(hca, shown);
  return [`${shown ? "add" : "remove"} node uverbs${hca.uverbs}`];
}

/** Moves the HCA to a pod's network namespace: no longer visible, with its nodes still in /dev. */
export function* leave(kernel: Kernel, hca: HcaObject): Steps {
  if (hca.where === "pod") throw new Error(`Cannot move ${hca.name} to a pod: it is already in one`);
  yield* kernel.vanish(hca, "pod", false);
  kernel.unplugNetdevs(hca);
  return [`remove ${hca.name} uverbs${hca.uverbs}`];
}

export function* comeBack(kernel: Kernel, hca: HcaObject): Steps {
  kernel.plugNetdevs(hca);
  yield* kernel.appear(hca, false);
  return [`add ${hca.name} uverbs${hca.uverbs}`];
}
