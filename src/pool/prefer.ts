/**
 * Chooses the devices that the kubelet should prefer. Pure, deterministic, and optimal for the cost of the policy.
 *
 * Devices are the leaves of a tree: NUMA node, PCIe root, physical function, HCA. Each policy defines a price for the
 * number of devices taken below each node. The cheapest way to take n devices is computed from the leaves up, by
 * combining the cheapest ways to take 0, 1, 2, … devices of each child (a knapsack on a tree).
 *
 * @module
 */
import { natural } from "../text/natural.ts";
import { membersOf } from "./devices.ts";
import type { DeviceState, PoolState } from "./states.ts";
import type { Prefer } from "./spec.ts";

/** The request for one container, as the kubelet sends it. */
export interface PreferenceRequest {
  readonly available: readonly string[];
  readonly mustInclude: readonly string[];
  readonly size: number;
}

/** The location of a device; equal strings mean the same location. */
export interface Place {
  readonly id: string;
  readonly numa: string;
  readonly root: string;
  /** The physical function: all its VFs send through the same port. */
  readonly pf: string;
  readonly hca: string;
  /** Number of devices of the same HCA that are in use. */
  readonly used: number;
}

const LEVELS = ["numa", "root", "pf", "hca"] as const;
type Level = typeof LEVELS[number];

/** Large enough that a thousand units of one level never outweigh one of the level above. */
const UNIT = 2 ** 17;

/** Limit on the steps of a search, which would delay the kubelet; above it, devices are taken in order. */
const MOST_STEPS = 4_000_000;

/** The price of taking `count` devices below a node of the tree. */
export function price(policy: Prefer, level: Level, count: number, used: number): number {
  if (count === 0) return 0;
  switch (policy) {
    case "pack": // as few NUMA nodes as possible, then PCIe roots, then HCAs
      return level === "numa" ? UNIT * UNIT : level === "root" ? UNIT : level === "hca" ? 1 : 0;
    case "spread": // squares are smallest for even counts, which use as many nodes as possible
      return level === "pf" ? count * count * 2 ** 21 : level === "root" ? count * count : 0;
    case "least-used": // the n-th device on an HCA costs n; then as few NUMA nodes as possible
      return level === "hca" ? (count * used + count * (count - 1) / 2) * UNIT : level === "numa" ? 1 : 0;
  }
}

/** The preferred device IDs: must-includes first, then by the policy; all devices when fewer are available. */
export function prefer(poolState: PoolState, request: PreferenceRequest): readonly string[] {
  const { available, mustInclude, size } = request;
  const needed = new Set(mustInclude);
  const must = [...needed];
  const rest = inOrder(poolState, new Set(available)).filter((id) => !needed.has(id));
  const wanted = Math.max(0, size - must.length);
  const { mode } = poolState.spec;
  // Devices that each give the whole pool are equivalent.
  if (wanted === 0 || wanted >= rest.length || (mode.kind === "shared" && mode.of === "all")) {
    return [...must, ...rest.slice(0, wanted)];
  }
  const sharesPerHca = mode.kind === "shared" ? mode.shares : 1;
  const ids = [...must, ...rest];
  const free = new Map<DeviceState, number>();
  for (const id of available) for (const one of membersOf(poolState, id) ?? []) free.set(one, (free.get(one) ?? 0) + 1);
  const places = ids.map((id) => place(id, membersOf(poolState, id)?.[0], sharesPerHca, free));
  const chosen = choose(poolState.spec.prefer, places, must.length, must.length + wanted);
  return [...must, ...chosen.filter((id) => !needed.has(id))];
}

/** IDs in natural order. The states of an exclusive resource's devices are in that order, which saves comparing names. */
function inOrder({ spec, deviceStates }: PoolState, ids: ReadonlySet<string>): readonly string[] {
  if (spec.mode.kind === "exclusive") {
    const known = [...deviceStates.keys()].filter((id) => ids.has(id));
    if (known.length === ids.size) return known;
  }
  return [...ids].sort(natural);
}

function place(
  id: string,
  deviceState: DeviceState | undefined,
  shares: number,
  free: ReadonlyMap<DeviceState, number>,
): Place {
  const pci = deviceState?.member.hcas[0]?.pci ?? null;
  const numa = pci?.numaNode ?? null;
  const hca = deviceState?.member.id ?? id;
  return {
    id,
    // A device without location, such as soft-RoCE, shares its location with no other.
    numa: numa === null ? `?${pci?.address ?? hca}` : String(numa),
    root: pci?.path[0] ?? `?${hca}`,
    pf: pci?.physfn ?? pci?.address ?? hca,
    hca,
    used: deviceState === undefined ? 0 : Math.max(0, shares - (free.get(deviceState) ?? 0)),
  };
}

interface TreeNode {
  readonly level: Level | "top";
  /** Null for an HCA, which has places instead: there are thousands of them. */
  readonly children: Map<string, TreeNode> | null;
  readonly places: Place[];
  must: number;
}

const NO_PLACES: Place[] = [];

function treeNode(level: TreeNode["level"]): TreeNode {
  const isLeaf = level === LEVELS.at(-1);
  return { level, children: isLeaf ? null : new Map(), places: isLeaf ? [] : NO_PLACES, must: 0 };
}

/**
 * Chooses the cheapest `size` places, including the first `must`.
 *
 * @returns IDs in the order of the places within each HCA
 */
export function choose(policy: Prefer, places: readonly Place[], must: number, size: number): readonly string[] {
  const top = treeNode("top");
  places.forEach((one, i) => insert(top, one, i < must));
  if (top.children!.size * size * size > MOST_STEPS && places.length * size > MOST_STEPS) {
    return places.slice(0, size).map((one) => one.id);
  }
  return solve(policy, top, size).take(size);
}

function insert(top: TreeNode, one: Place, must: boolean): void {
  let node = top;
  for (const level of LEVELS) {
    let child = node.children!.get(one[level]);
    if (child === undefined) {
      child = treeNode(level);
      node.children!.set(one[level], child);
    }
    node = child;
  }
  node.places.push(one);
  if (must) node.must++;
}

/** The levels at which a policy has a price; at the others {@link price} is 0. */
const PRICED: Readonly<Record<Prefer, readonly Level[]>> = {
  "pack": ["numa", "root", "hca"],
  "spread": ["root", "pf"],
  "least-used": ["numa", "hca"],
};

interface Solution {
  /** Lowest price of taking n devices; Infinity where impossible (fewer than required, or more than available). */
  readonly prices: readonly number[];
  readonly take: (count: number) => readonly string[];
}

function solve(policy: Prefer, node: TreeNode, size: number): Solution {
  const below = node.children === null ? leaf(node, size) : combine([...node.children.values()], policy, size);
  const { level } = node;
  if (level === "top" || !PRICED[policy].includes(level)) return below;
  const used = node.places[0]?.used ?? 0;
  return { prices: below.prices.map((sum, n) => sum + price(policy, level, n, used)), take: below.take };
}

function leaf(node: TreeNode, size: number): Solution {
  const most = Math.min(size, node.places.length);
  const prices = new Array<number>(most + 1).fill(0).fill(Infinity, 0, Math.min(node.must, most + 1));
  return { prices, take: (count) => node.places.slice(0, count).map((one) => one.id) };
}

function combine(children: readonly TreeNode[], policy: Prefer, size: number): Solution {
  const parts = children.map((child) => solve(policy, child, size));
  // Most nodes have one child: an HCA with a function and a PCIe root of its own.
  if (parts.length === 1) return parts[0]!;
  // Plain arrays: they are short, and there are thousands, of which a typed one takes ten times as long to make.
  const prices = [0];
  /** For every part, the number taken of it in the cheapest n of all parts up to it. */
  const shares: (readonly number[])[] = [];
  for (const part of parts) {
    const most = Math.min(size, prices.length - 1 + part.prices.length - 1);
    while (prices.length <= most) prices.push(Infinity);
    const share = new Array<number>(most + 1).fill(0);
    // From the most down: what is taken of the parts before is looked up below, where nothing has been written yet.
    for (let count = most; count >= 0; count--) {
      let least = Infinity;
      let taken = 0;
      for (let here = 0; here < part.prices.length && here <= count; here++) {
        const sum = prices[count - here]! + part.prices[here]!;
        // `<` prefers the earlier parts on a tie, so the first devices in natural order are taken first.
        if (sum >= least) continue;
        least = sum;
        taken = here;
      }
      prices[count] = least;
      share[count] = taken;
    }
    shares.push(share);
  }
  const take = (count: number): readonly string[] => {
    if (count === 0) return [];
    const ids: (readonly string[])[] = [];
    for (let i = parts.length - 1, left = count; i >= 0; i--) {
      const here = shares[i]![left]!;
      ids.push(parts[i]!.take(here));
      left -= here;
    }
    return ids.reverse().flat();
  };
  return { prices, take };
}
