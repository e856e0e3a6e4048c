/**
 * The inventory: the HCAs found, the resources offered, and the reason for each HCA that is left out, as one immutable
 * value. The agent, `list`, `doctor` and the status page all use it, so their results agree.
 *
 * @module
 */
import type { Snapshot } from "../hca/types.ts";
import { type ExceededRules, NONE_EXCEEDED } from "../pool/errors.ts";
import { missingNode, type NodeFacts, nodeOwners } from "../pool/extra_nodes.ts";
import { type ClaimedHcas, type LeftOut, select } from "../pool/select.ts";
import type { ResourceSpec } from "../pool/spec.ts";
import { type Change, type MissingNode, type PoolStates, track } from "../pool/states.ts";
import { keptMembers, type KubeletRecord, membersOf } from "./kept.ts";

export interface Inventory {
  readonly snapshot: Snapshot;
  readonly specs: readonly ResourceSpec[];
  readonly states: PoolStates;
  readonly leftOut: readonly LeftOut[];
  /** The HCAs that a device node belongs to, for this snapshot. */
  readonly ownersOf: NodeFacts["ownersOf"];
}

/** The inventory after one scan. */
export interface InventoryStep {
  /** The same object as before when nothing changed. */
  readonly inventory: Inventory;
  readonly changes: readonly Change[];
  /** Time of the next change without an event (clock of `now`, ms); null when none is pending. */
  readonly wakeAt: number | null;
}

/**
 * Computes the inventory after a scan. Pure.
 *
 * @param before null for the first scan, which has no settle times
 * @param record provides what the machine alone cannot show: HCAs in pods, and earlier members
 * @param now milliseconds of a monotonic clock
 * @param has whether the host has a path
 * @param claimed HCAs that ResourceClaims have
 * @param exceeded the rules that counters exceed
 */
export function advance(
  before: Inventory | null,
  snapshot: Snapshot,
  specs: readonly ResourceSpec[],
  record: KubeletRecord,
  now: number,
  has: (hostPath: string) => boolean = () => true,
  claimed: ClaimedHcas = new Map(),
  exceeded: ExceededRules = NONE_EXCEEDED,
): InventoryStep {
  const last = before?.states ?? new Map();
  const selection = select(specs, snapshot, keptMembers(specs, last, record.former()), claimed);
  const devices = snapshot.netnsMode === "exclusive" ? record.held() : null;
  const held = devices === null ? null : membersOf(specs, devices);
  const ownersOf = before?.snapshot === snapshot ? before.ownersOf : nodeOwners(snapshot.hcas);
  const facts = { has, ownersOf };
  const missing: MissingNode = (spec, hca) => missingNode(spec, hca, facts);
  const { states, changes, wakeAt } = track(last, selection, held, now, missing, exceeded);
  const unchanged = before !== null && before.snapshot === snapshot && before.specs === specs &&
    before.states === states;
  const inventory = unchanged ? before : { snapshot, specs, states, leftOut: selection.leftOut, ownersOf };
  return { inventory, changes, wakeAt };
}

/** The inventory of a machine without serving its resources. */
export function inspect(
  snapshot: Snapshot,
  specs: readonly ResourceSpec[],
  record: KubeletRecord,
  has?: (hostPath: string) => boolean,
  claimed: ClaimedHcas = new Map(),
): Inventory {
  return advance(null, snapshot, specs, record, 0, has, claimed).inventory;
}
