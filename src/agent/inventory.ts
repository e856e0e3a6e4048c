/**
 * The inventory: what was found, what is offered, and the reason for what is not, as one immutable value. The agent,
 * `list`, `doctor` and the status page all read it, so none of them can disagree with another.
 *
 * @module
 */
import type { Snapshot } from "../hca/types.ts";
import { SHARE_MARK } from "../pool/devices.ts";
import { type ClaimedHcas, type LeftOut, select } from "../pool/select.ts";
import type { ResourceSpec } from "../pool/spec.ts";
import { type Change, type PoolStates, track } from "../pool/states.ts";

export interface Inventory {
  readonly snapshot: Snapshot;
  readonly specs: readonly ResourceSpec[];
  readonly states: PoolStates;
  readonly leftOut: readonly LeftOut[];
}

/** What one scan made of the inventory. */
export interface InventoryStep {
  /** The same object as before when nothing changed. */
  readonly inventory: Inventory;
  readonly changes: readonly Change[];
  /** When the clock alone will change something (clock of `now`, ms); null when nothing waits. */
  readonly wakeAt: number | null;
}

/** Device IDs by resource that pods hold, as the kubelet's checkpoint lists them. */
export type HeldDevices = ReadonlyMap<string, ReadonlySet<string>>;

/**
 * One pure step: the inventory after a scan.
 *
 * @param before null for the first scan: nothing has to settle then
 * @param readHeld asked only when the machine alone cannot tell which HCAs exist
 * @param now milliseconds of a monotonic clock
 * @param claimed HCAs that ResourceClaims have
 */
export function advance(
  before: Inventory | null,
  snapshot: Snapshot,
  specs: readonly ResourceSpec[],
  readHeld: () => HeldDevices,
  now: number,
  claimed: ClaimedHcas = new Map(),
): InventoryStep {
  const selection = select(specs, snapshot, claimed);
  const held = snapshot.netnsMode === "exclusive" ? heldMembers(specs, readHeld()) : new Map();
  const { states, changes, wakeAt } = track(before?.states ?? new Map(), selection, held, now);
  const unchanged = before !== null && before.snapshot === snapshot && before.specs === specs &&
    before.states === states;
  const inventory = unchanged ? before : { snapshot, specs, states, leftOut: selection.leftOut };
  return { inventory, changes, wakeAt };
}

/** The inventory of a machine that is seen for the first time, without serving anything. */
export function inspect(
  snapshot: Snapshot,
  specs: readonly ResourceSpec[],
  readHeld: () => HeldDevices,
  claimed: ClaimedHcas = new Map(),
): Inventory {
  return advance(null, snapshot, specs, readHeld, 0, claimed).inventory;
}

/** Member IDs that pods hold. Resources that share every HCA of their pool hold none of them in particular. */
function heldMembers(specs: readonly ResourceSpec[], held: HeldDevices): HeldDevices {
  return new Map(
    specs.filter(({ mode }) => mode.kind === "exclusive" || mode.of === "one").map(({ name, mode }) => {
      const ids = [...held.get(name) ?? []].map((id) =>
        mode.kind === "exclusive" ? id : id.slice(0, Math.max(0, id.lastIndexOf(SHARE_MARK)))
      );
      return [name, new Set(ids.filter((id) => id !== ""))];
    }),
  );
}
