/**
 * A fake scheduler for claims: allocates devices of ResourceSlices to the requests of a claim, first fit in the order
 * of slices and devices, and writes the allocation to the claim. Selectors compare attributes instead of evaluating
 * CEL.
 *
 * @module
 */
import { randomUUID } from "node:crypto";
import { count } from "../../src/kubernetes/quantity.ts";
import type {
  AllocationConfig,
  AllocationResult,
  ResourceClaim,
  ResourceSlice,
  SliceDevice,
} from "../../src/kubernetes/resource_api.ts";
import { CLAIMS, type FakeApiServer } from "./server.ts";
import type { KubeObject } from "./store.ts";

/** One request of a claim. */
export interface DeviceRequest {
  readonly name?: string;
  readonly count?: number;
  /** Attributes with the values they must have. */
  readonly where?: Readonly<Record<string, string | number | boolean>>;
  readonly shares?: number;
  readonly tolerate?: boolean;
}

/**
 * Allocates a claim, and creates it if it does not exist.
 *
 * @returns null when the claim stays pending; the real scheduler then reports "cannot allocate all claims"
 */
export function schedule(
  api: FakeApiServer,
  name: string,
  requests: readonly DeviceRequest[],
  config: readonly AllocationConfig[] = [],
): ResourceClaim | null {
  const key = `default/${name}`;
  const claim = api.store.get(CLAIMS, key) ?? api.store.create(CLAIMS, { metadata: { name } }, "default");
  const results: AllocationResult[] = [];
  for (const request of requests) {
    for (let n = 0; n < (request.count ?? 1); n++) {
      const found = candidates(api).find(({ slice, device }) => fits(api, slice, device, request, results));
      if (found === undefined) return null;
      const { slice, device } = found;
      results.push({
        request: request.name ?? "nic",
        driver: slice.spec.driver,
        pool: slice.spec.pool.name,
        device: device.name,
        ...device.allowMultipleAllocations
          ? { shareID: randomUUID(), consumedCapacity: { shares: String(request.shares ?? 1) } }
          : {},
      });
    }
  }
  const allocated = { ...claim, status: { allocation: { devices: { results, config } } } };
  return api.store.update(CLAIMS, key, allocated) as unknown as ResourceClaim;
}

/** Deallocates a claim whose pod is gone. */
export function release(api: FakeApiServer, name: string): void {
  api.store.delete(CLAIMS, `default/${name}`);
}

/** Devices of complete pools of the latest generation, in order. */
function candidates(api: FakeApiServer): readonly { slice: ResourceSlice; device: SliceDevice }[] {
  const { slices } = api;
  const newest = Math.max(0, ...slices.map((one) => one.spec.pool.generation));
  const current = slices.filter((one) => one.spec.pool.generation === newest);
  if (current.length === 0 || current.length !== current[0]!.spec.pool.resourceSliceCount) return [];
  return current.flatMap((slice) => (slice.spec.devices ?? []).map((device) => ({ slice, device })));
}

function fits(
  api: FakeApiServer,
  slice: ResourceSlice,
  device: SliceDevice,
  request: DeviceRequest,
  own: readonly AllocationResult[],
): boolean {
  if (!request.tolerate && (device.taints ?? []).some((one) => one.effect !== "None")) return false;
  for (const [name, value] of Object.entries(request.where ?? {})) {
    const attribute = device.attributes?.[name];
    if ((attribute?.string ?? attribute?.int ?? attribute?.bool ?? attribute?.version) !== value) return false;
  }
  const claims = api.store.list(CLAIMS) as unknown as readonly (ResourceClaim & KubeObject)[];
  const results = [...own, ...claims.flatMap((one) => one.status?.allocation?.devices?.results ?? [])];
  const used = results.filter((one) => one.pool === slice.spec.pool.name && one.device === device.name);
  if (!device.allowMultipleAllocations) return used.length === 0 && hasCounters(api, device, results);
  if (own.some((one) => one.device === device.name)) return false;
  const taken = used.reduce((sum, one) => sum + Number(one.consumedCapacity?.shares ?? 0), 0);
  return taken + (request.shares ?? 1) <=
    (device.capacity?.shares === undefined ? Infinity : count(device.capacity.shares.value));
}

function hasCounters(api: FakeApiServer, device: SliceDevice, results: readonly AllocationResult[]): boolean {
  const devices = api.slices.flatMap((one) => one.spec.devices ?? []);
  const sets = api.slices.flatMap((one) => one.spec.sharedCounters ?? []);
  return (device.consumesCounters ?? []).every(({ counterSet, counters }) => {
    const total = count(sets.find((one) => one.name === counterSet)?.counters.vfs?.value);
    const taken = devices.filter((one) => results.some((result) => result.device === one.name))
      .flatMap((one) => one.consumesCounters ?? []).filter((one) => one.counterSet === counterSet)
      .reduce((sum, one) => sum + count(one.counters.vfs?.value), 0);
    return taken + count(counters.vfs?.value) <= total;
  });
}
