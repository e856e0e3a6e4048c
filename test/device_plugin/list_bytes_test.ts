import { deepEqual, equal } from "@std/assert";
import type { Buffer } from "node:buffer";
import fc from "fast-check";
import { devicePluginServices, type ListAndWatchResponse, method } from "../../src/kubelet/api.ts";
import { protoCodec } from "../../src/device_plugin/codec.ts";
import type { OfferedDevice } from "../../src/pool/devices.ts";

const { responseSerialize, responseDeserialize } = method<unknown, ListAndWatchResponse>(
  devicePluginServices()["v1beta1.DevicePlugin"],
  "ListAndWatch",
);

/** What the library makes of the whole list. */
function byLibrary(devices: readonly OfferedDevice[]): Buffer {
  return responseSerialize({
    devices: devices.map(({ id, healthy, numaNodes }) => ({
      ID: id,
      health: healthy ? "Healthy" : "Unhealthy",
      ...numaNodes.length === 0 ? {} : { topology: { nodes: numaNodes.map((ID) => ({ ID })) } },
    })),
  });
}

const codec = protoCodec();

Deno.test("codec.list() gives the library's bytes for IDs of every length, conditions and NUMA nodes", () => {
  const device = fc.record({
    id: fc.oneof(
      fc.string({ minLength: 1, maxLength: 12, unit: "grapheme" }),
      fc.integer({ min: 100, max: 140 }).map((length) => "x".repeat(length)),
      fc.constantFrom(16_250, 16_384, 20_000).map((length) => "y".repeat(length)),
    ),
    healthy: fc.boolean(),
    numaNodes: fc.uniqueArray(fc.nat(1_023), { maxLength: 60 }).map((nodes) => nodes.toSorted((a, b) => a - b)),
  });
  fc.assert(
    fc.property(fc.array(device, { maxLength: 30 }), (devices) => {
      deepEqual(codec.list(devices), byLibrary(devices));
    }),
    { numRuns: 300 },
  );
});

Deno.test("codec.list() keeps the order of ten thousand shares, and is empty for none", () => {
  const numaNodes = [0];
  const devices = Array.from({ length: 10_000 }, (_, k) => ({ id: `mlx5_0::${k}`, healthy: k % 3 > 0, numaNodes }));
  const read = responseDeserialize(codec.list(devices)).devices ?? [];
  deepEqual(read.map((one) => one.ID), devices.map((one) => one.id));
  deepEqual(read.map((one) => one.health === "Healthy"), devices.map((one) => one.healthy));
  equal(codec.list([]).length, 0);
});
