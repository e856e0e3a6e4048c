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
  const free = new Set(available);
  const rest = inOrder(poolState, free).filter((id) => !needed.has(id));
  const wanted = Math.max(0, size - must.length);
  const { mode } = poolState.spec;
  // Devices that each give the whole pool are equivalent.
  if (wanted === 0 || wanted >= rest.length || (mode.kind === "shared" && mode.of === "all")) {
    return [...must, ...rest.slice(0, wanted)];
  }
  const stateOf = (id: string) => membersOf(poolState, id)?.[0];
  const used = mode.kind === "shared" ? usedShares(mode.shares, available.map(stateOf)) : null;
  const places = [...must, ...rest].map((id) => {
    const deviceState = stateOf(id);
    return place(id, deviceState, used === null || deviceState === undefined ? 0 : used(deviceState));
  });
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

/** How many of an HCA's shares are in use: all but the free ones. */
function usedShares(shares: number, free: readonly (DeviceState | undefined)[]): (on: DeviceState) => number {
  const count = new Map<DeviceState | undefined, number>();
  for (const one of free) count.set(one, (count.get(one) ?? 0) + 1);
  return (on) => Math.max(0, shares - (count.get(on) ?? 0));
}

function place(id: string, deviceState: DeviceState | undefined, used: number): Place {
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
    used,
  };
}

/**
 * A node of the tree, with the cheapest ways to take devices below it. Made by the thousand for one question: what it
 * does not need is not made, since V8's collections were most of the time.
 */
interface TreeNode {
  readonly level: Level | "top";
  readonly key: string;
  /** Empty for an HCA, which has places. */
  readonly children: TreeNode[];
  /** The children by key once there are several. */
  byKey: Map<string, TreeNode> | null;
  readonly places: Place[];
  must: number;
  /** Lowest price of taking n devices; Infinity where impossible (fewer than required, or more than available). */
  prices: readonly number[];
  /** For every child, the number taken of it in the cheapest n of all children up to it. Null for one child, or none. */
  shares: readonly (readonly number[])[] | null;
}

const NONE: never[] = [];

function treeNode(level: TreeNode["level"], key: string): TreeNode {
  const isLeaf = level === LEVELS.at(-1);
  const [children, places] = [isLeaf ? NONE : [], isLeaf ? [] : NONE];
  return { level, key, children, byKey: null, places, must: 0, prices: NONE, shares: null };
}

/**
 * Chooses the cheapest `size` places, including the first `must`.
 *
 * @returns IDs in the order of the places within each HCA
 */
export function choose(policy: Prefer, places: readonly Place[], must: number, size: number): readonly string[] {
  const top = treeNode("top", "");
  places.forEach((one, i) => insert(top, one, i < must));
  if (top.children.length * size * size > MOST_STEPS && places.length * size > MOST_STEPS) {
    return places.slice(0, size).map((one) => one.id);
  }
  solve(policy, top, size, new Map());
  const ids: string[] = [];
  take(top, size, ids);
  return ids;
}

function insert(top: TreeNode, one: Place, must: boolean): void {
  let node = top;
  for (const level of LEVELS) node = childOf(node, level, one[level]);
  node.places.push(one);
  if (must) node.must++;
}

/** The child with this key, made when it is missing. */
function childOf(node: TreeNode, level: Level, key: string): TreeNode {
  const [first] = node.children;
  if (first?.key === key) return first;
  const known = node.byKey?.get(key);
  if (known !== undefined) return known;
  const child = treeNode(level, key);
  node.children.push(child);
  if (first !== undefined) (node.byKey ??= new Map()).set(key, child);
  return child;
}

/** The levels at which a policy has a price; at the others {@link price} is 0. */
const PRICED: Readonly<Record<Prefer, readonly Level[]>> = {
  "pack": ["numa", "root", "hca"],
  "spread": ["root", "pf"],
  "least-used": ["numa", "hca"],
};

/** @param leaves prices of HCAs: most have the same */
function solve(policy: Prefer, node: TreeNode, size: number, leaves: Map<string, readonly number[]>): void {
  const { level } = node;
  if (node.children.length > 0) {
    for (const child of node.children) solve(policy, child, size, leaves);
    combine(node, size);
    if (level !== "top" && PRICED[policy].includes(level)) {
      node.prices = node.prices.map((sum, n) => sum + price(policy, level, n, 0));
    }
    return;
  }
  const most = Math.min(size, node.places.length);
  const used = node.places[0]?.used ?? 0;
  const key = `${most} ${node.must} ${used}`;
  const known = leaves.get(key);
  node.prices = known ??
    Array.from({ length: most + 1 }, (_, n) => n < node.must ? Infinity : price(policy, "hca", n, used));
  if (known === undefined) leaves.set(key, node.prices);
}

function combine(node: TreeNode, size: number): void {
  const { children } = node;
  // Most nodes have one child: an HCA with a function and a PCIe root of its own.
  if (children.length === 1) {
    node.prices = children[0]!.prices;
    return;
  }
  // Plain arrays: they are short, and there are thousands, of which a typed one takes ten times as long to make.
  const prices = [0];
  node.shares = children.map((part) => {
    const most = Math.min(size, prices.length - 1 + part.prices.length - 1);
    while (prices.length <= most) prices.push(Infinity);
    const share = new Array<number>(most + 1).fill(0);
    // From the most down: what is taken of the parts before is looked up below, where nothing has been written yet.
    for (let count = most; count >= 0; count--) {
      let least = Infinity;
      for (let here = 0; here < part.prices.length && here <= count; here++) {
        const sum = prices[count - here]! + part.prices[here]!;
        // `<` prefers the earlier parts on a tie, so the first devices in natural order are taken first.
        if (sum >= least) continue;
        least = sum;
        share[count] = here;
      }
      prices[count] = least;
    }
    return share;
  });
  node.prices = prices;
}

/** Adds the IDs of the cheapest `count` devices below the node, in the order of the places. */
function take(node: TreeNode, count: number, ids: string[]): void {
  if (count === 0) return;
  if (node.children.length === 0) {
    for (const { id } of node.places.slice(0, count)) ids.push(id);
    return;
  }
  const counts: number[] = [];
  for (let i = node.children.length - 1, left = count; i >= 0; i--) {
    const here = node.shares === null ? left : node.shares[i]![left]!;
    counts[i] = here;
    left -= here;
  }
  node.children.forEach((child, i) => take(child, counts[i]!, ids));
}
