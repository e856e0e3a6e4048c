/**
 * From the API's objects to the fleet, without an API server.
 *
 * @module
 */
import type { FleetFacts } from "../../src/fleet/facts.ts";
import { keepers } from "../../src/fleet/keep.ts";
import { matcher } from "../../src/fleet/patterns.ts";
import { type Fleet, fleetOf } from "../../src/fleet/rows.ts";
import { DRIVER } from "./fleet_objects.ts";

/** Objects by kind. */
export interface ClusterObjects {
  readonly nodes?: readonly object[];
  readonly pods?: readonly object[];
  readonly slices?: readonly object[];
  readonly claims?: readonly object[];
  readonly events?: readonly object[];
}

/** What is kept of objects. */
export function factsOf(
  { nodes = [], pods = [], slices = [], claims = [], events = [] }: ClusterObjects,
  resources = "*rdma*",
): FleetFacts {
  const keep = keepers(DRIVER, { counted: matcher(resources), own: () => true });
  const kept = <T>(objects: readonly object[], one: (object: never) => T | null) =>
    objects.flatMap((object) => one(object as never) ?? []);
  return {
    nodes: kept(nodes, keep.node),
    pods: kept(pods, keep.pod),
    slices: kept(slices, keep.slice),
    claims: kept(claims, keep.claim),
    events: kept(events, keep.event),
    known: { pods: true, claims: true },
  };
}

/** The fleet of these objects. */
export function fleet(objects: ClusterObjects): Fleet {
  return fleetOf(factsOf(objects), false, () => true);
}
