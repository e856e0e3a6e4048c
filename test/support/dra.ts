/**
 * Devices and slices as values, for tests of the DRA driver.
 *
 * @module
 */
import { ALL_FEATURES, draDevices, type Features, publish, type Published } from "../../src/dra/devices.ts";
import { contents, planWrites, type PoolIdentity } from "../../src/dra/slices.ts";
import type { ResourceSlice } from "../../src/kubernetes/resource_api.ts";
import type { Inventory } from "../../src/agent/inventory.ts";
import { DEFAULT_SPEC, type ResourceSpec } from "../../src/pool/spec.ts";

export const DRIVER = "rdma.tencent.com";

export const IDENTITY: PoolIdentity = {
  driver: DRIVER,
  node: "node-1",
  pool: "node-1",
  owner: { apiVersion: "v1", kind: "Node", name: "node-1", uid: "u-1", controller: true },
};

/** A resource with `api: dra`, as the configuration makes it. */
export function draSpec(over: Partial<ResourceSpec> = {}): ResourceSpec {
  return { ...DEFAULT_SPEC, api: "dra", ids: "pci", ...over };
}

/** What would be published of an inventory. */
export function published(
  { states, snapshot }: Inventory,
  features: Features = ALL_FEATURES,
  heldBy: ReadonlyMap<string, string> = new Map(),
): Published {
  const { devices, notes } = draDevices(states, heldBy);
  const made = publish({ devices, netnsMode: snapshot.netnsMode, features, known: new Map() });
  return { ...made, notes: [...notes, ...made.notes] };
}

/** The slices that a server without any gets. */
export function firstSlices(made: Published): readonly ResourceSlice[] {
  return planWrites([], contents(made), IDENTITY).flatMap((write) => write.kind === "create" ? [write.slice] : []);
}
