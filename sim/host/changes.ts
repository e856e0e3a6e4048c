/**
 * Changes of HCAs that stay where they are: ports, GIDs, names, numbers, namespaces. Each yields where a reader may
 * look in the middle, and returns the event lines.
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

/** The port's files, and its net devices after it. A port of an HCA out of view changes unseen. */
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

/** An address change: attributes of the old GIDs stop being readable before the new ones are there. */
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
 * A CNI plugin moves the net devices into a pod while the HCA stays: they vanish, the ports go down, and the GID tables
 * are emptied. In the pod their names are others.
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

/** The pod is gone: the net devices are back under their old names, and up. */
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

/** All the uverbs entries go, then they come back one by one under their new numbers. */
export function* renumber(kernel: Kernel, changes: readonly (readonly [HcaObject, number | null])[]): Steps {
  const moved = changes.map(([hca]) => hca);
  const away = moved.find((hca) => hca.where !== "here");
  if (away !== undefined) throw new Error(`Cannot renumber ${away.name}: the host does not see it`);
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

/** The kernel renames object and class link; `ibdev` of its nodes follows, the nodes keep their numbers. */
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

/** The uverbs node in /dev, without its sysfs entry. */
// deno-lint-ignore require-yield
export function* showNode(kernel: Kernel, hca: HcaObject, shown: boolean): Steps {
  kernel.showNode(hca, shown);
  return [`${shown ? "add" : "remove"} node uverbs${hca.uverbs}`];
}

/** To a pod's network namespace: out of view, with the nodes still in /dev. */
export function* leave(kernel: Kernel, hca: HcaObject): Steps {
  if (hca.where === "pod") throw new Error(`Cannot move ${hca.name} to a pod: it is in one`);
  yield* kernel.vanish(hca, "pod", false);
  kernel.unplugNetdevs(hca);
  return [`remove ${hca.name} uverbs${hca.uverbs}`];
}

export function* comeBack(kernel: Kernel, hca: HcaObject): Steps {
  kernel.plugNetdevs(hca);
  yield* kernel.appear(hca, false);
  return [`add ${hca.name} uverbs${hca.uverbs}`];
}
