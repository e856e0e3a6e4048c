/**
 * What a stranger may send to the plugin's socket: whole requests, spoilt ones, any bytes. Sent to the real server by a
 * real client, which speaks in bytes, over the offers of a host that has one of everything.
 *
 * @module
 */
import { deepEqual, equal } from "@std/assert";
import { Buffer } from "node:buffer";
import { join } from "node:path";
import { status } from "@grpc/grpc-js";
import * as fc from "fast-check";
import { type AllocateRequest, type AllocateResponse, devicePluginServices, method } from "../../../src/kubelet/api.ts";
import { protoCodec } from "../../../src/device_plugin/codec.ts";
import type { PreferredAllocationRequest__Output as Preferred } from "../../../src/gen/v1beta1/PreferredAllocationRequest.ts";
import type { PreferredAllocationResponse } from "../../../src/gen/v1beta1/PreferredAllocationResponse.ts";
import { PluginServer } from "../../../src/device_plugin/server.ts";
import type { Hca } from "../../../src/hca/types.ts";
import { DevicePluginResource } from "../../../src/agent/device_plugin_resource.ts";
import { devices, membersOf } from "../../../src/pool/devices.ts";
import { type PoolState, track } from "../../../src/pool/states.ts";
import { select } from "../../../src/pool/select.ts";
import { DEFAULT_SPEC, type ResourceSpec } from "../../../src/pool/spec.ts";
import { FakeHost, preset } from "../../../sim/mod.ts";
import { BareClient } from "../../support/bare_client.ts";
import { temporaryDir } from "../../support/temp.ts";
import { LONGEST_CASE, type Prepared, type Target } from "../target.ts";
import { must, sentence } from "../words.ts";
import { discoveryOn } from "../../support/discovery.ts";

const SPECS: readonly ResourceSpec[] = [
  { ...DEFAULT_SPEC, name: "rdma/own", select: [{ hcas: ["mlx5_0", "rocep*"] }] },
  { ...DEFAULT_SPEC, name: "rdma/vf", select: [{ kinds: ["vf"] }], ids: "pci", prefer: "spread" },
  {
    ...DEFAULT_SPEC,
    name: "rdma/one",
    select: [{ hcas: ["bnxt*", "rxe0"] }],
    mode: { kind: "shared", shares: 4, of: "one" },
    prefer: "least-used",
  },
  { ...DEFAULT_SPEC, name: "rdma/all", select: [{ drivers: ["efa"] }], mode: { kind: "shared", shares: 3, of: "all" } },
];

const SERVICE = devicePluginServices()["v1beta1.DevicePlugin"];
const ALLOCATE = method<Partial<AllocateRequest>, AllocateResponse>(SERVICE, "Allocate");
const PREFER = method<Partial<Preferred>, PreferredAllocationResponse>(SERVICE, "GetPreferredAllocation");
const METHODS = ["Allocate", "GetPreferredAllocation", "PreStartContainer", "GetDevicePluginOptions"] as const;

/** Every status that a request may be refused with; INTERNAL would be an exception that nobody thought of. */
const REFUSALS: readonly number[] = [status.INVALID_ARGUMENT, status.FAILED_PRECONDITION, status.RESOURCE_EXHAUSTED];

interface Served {
  readonly spec: ResourceSpec;
  readonly poolState: PoolState;
  readonly ids: readonly string[];
  readonly client: BareClient;
}

/** A request before it is made of the resource's own devices: numbers choose among them, words are sent as they are. */
const id = fc.oneof(
  { weight: 60, arbitrary: fc.nat(30) },
  {
    weight: 1,
    arbitrary: fc.constantFrom(
      "",
      "mlx5_1",
      "mlx5_0::0",
      "0",
      "00",
      "-1",
      "__proto__",
      "\u001b[2J\n",
      "\u009b2J",
      "9".repeat(9),
    ),
  },
  { weight: 1, arbitrary: fc.string({ unit: "binary", maxLength: 200 }) },
);
const ids = fc.array(id, { maxLength: 6 });
type Spoil =
  | { readonly at: number; readonly byte: number }
  | { readonly cut: number }
  | { readonly insert: Uint8Array; readonly at: number };
const spoil: fc.Arbitrary<Spoil> = fc.oneof(
  fc.record({ at: fc.nat(200), byte: fc.nat(255) }),
  fc.record({ cut: fc.nat(200) }),
  fc.record({ insert: fc.uint8Array({ maxLength: 12 }), at: fc.nat(200) }),
);
const question = fc.record({
  of: fc.nat(SPECS.length - 1),
  method: fc.oneof({ weight: 4, arbitrary: fc.constantFrom(METHODS[0], METHODS[1]) }, {
    weight: 1,
    arbitrary: fc.constantFrom(...METHODS),
  }),
  containers: fc.array(
    fc.record({
      ids,
      must: ids,
      size: fc.oneof(fc.nat(6), fc.constantFrom(-1, -(2 ** 31), 2 ** 31 - 1, 1_000_000)),
    }),
    { maxLength: 4 },
  ),
  spoils: fc.oneof({ weight: 2, arbitrary: fc.constant<Spoil[]>([]) }, {
    weight: 1,
    arbitrary: fc.array(spoil, { minLength: 1, maxLength: 3 }),
  }),
  /** Bytes instead of all that. */
  bytes: fc.option(fc.uint8Array({ maxLength: 120 }), { freq: 6 }),
});
type Question = typeof question extends fc.Arbitrary<infer T> ? T : never;

function requestOf(served: Served, one: Question): Uint8Array {
  if (one.bytes !== null) return one.bytes;
  const real = (wanted: readonly (number | string)[]) =>
    wanted.map((each) => typeof each === "number" ? served.ids[each % served.ids.length]! : each);
  const request = one.method === "GetPreferredAllocation"
    ? PREFER.requestSerialize({
      container_requests: one.containers.map((each) => ({
        available_deviceIDs: real(each.ids),
        must_include_deviceIDs: real(each.must),
        allocation_size: each.size,
      })),
    })
    : ALLOCATE.requestSerialize({
      container_requests: one.containers.map((each) => ({ devices_ids: real(each.ids) })),
    });
  return one.spoils.reduce<Uint8Array>((bytes, each) => {
    if ("cut" in each) return bytes.subarray(0, each.cut);
    if ("byte" in each) return bytes.map((byte, i) => i === each.at ? each.byte : byte);
    return Buffer.concat([bytes.subarray(0, each.at), each.insert, bytes.subarray(each.at)]);
  }, request);
}

/** The request as the peers' decoder reads it; null when it is none. */
function understood<T>(read: () => T): T | null {
  try {
    return read();
  } catch {
    return null;
  }
}

/** Whatever was asked: nobody gets a device that was not asked for, or that is not the resource's. */
function checkAllocate({ poolState, spec }: Served, request: Uint8Array, bytes: Buffer): void {
  const asked = understood(() => ALLOCATE.requestDeserialize(Buffer.from(request)));
  must(asked !== null, "bytes that are no request were answered");
  const { container_responses: answers } = ALLOCATE.responseDeserialize(bytes);
  const containers = asked.container_requests ?? [];
  equal(answers?.length, containers.length, "an answer a container");
  containers.forEach(({ devices_ids }, i) => {
    const may: Hca[] = [];
    for (const one of devices_ids) {
      const found = membersOf(poolState, one);
      must(found !== null, `${spec.name} has no ${JSON.stringify(one)}, and it was handed out`);
      may.push(...found.flatMap((deviceState) => deviceState.member.hcas));
    }
    const paths = (answers![i]!.devices ?? []).map((device) => device.container_path!);
    equal(new Set(paths).size, paths.length, "no node twice");
    const own = new Set(may.map((hca) => `/dev/infiniband/${hca.uverbs!.name}`));
    deepEqual(paths.filter((path) => path.includes("/uverbs")).toSorted(), [...own].toSorted(), "exactly the nodes");
    const mads = new Set(may.flatMap((hca) => hca.ports.flatMap((port) => [port.umad, port.issm])));
    for (const path of paths.filter((one) => /umad|issm/.test(one))) must(mads.has(path.split("/").at(-1)!), path);
    const names = answers![i]!.envs?.RDMA_HCAS ?? "";
    deepEqual(names.split(",").filter(Boolean).toSorted(), [...new Set(may.map((hca) => hca.name))].toSorted());
  });
}

function checkPrefer(request: Uint8Array, bytes: Buffer): void {
  const asked = understood(() => PREFER.requestDeserialize(Buffer.from(request)));
  must(asked !== null, "bytes that are no request were answered");
  const { container_responses: answers } = PREFER.responseDeserialize(bytes);
  const containers = asked.container_requests ?? [];
  equal(answers?.length, containers.length, "an answer a container");
  containers.forEach(({ available_deviceIDs, must_include_deviceIDs, allocation_size }, i) => {
    const chosen = answers![i]!.deviceIDs ?? [];
    const needed = new Set(must_include_deviceIDs);
    equal(new Set(chosen).size, chosen.length, "no device twice");
    for (const one of needed) must(chosen.includes(one), "what must be included is");
    for (const one of chosen) {
      must(needed.has(one) || available_deviceIDs.includes(one), "nothing that is not available");
    }
    const all = new Set([...available_deviceIDs, ...needed]).size;
    equal(chosen.length, Math.max(needed.size, Math.min(allocation_size, all)), "as many as were asked for");
  });
}

type Tally = Record<"answered" | "refused" | "handed", number>;

async function check(served: readonly Served[], one: Question, tally: Tally): Promise<void> {
  const resource = served[one.of]!;
  const request = requestOf(resource, one);
  const reply = await resource.client.call(one.method, Buffer.from(request), LONGEST_CASE);
  if (!reply.ok) {
    tally.refused++;
    must(REFUSALS.includes(reply.code), `${one.method} ended with ${status[reply.code]}: ${reply.message}`);
    sentence(reply.message, "the refusal");
    return;
  }
  tally.answered++;
  if (one.method === "Allocate") checkAllocate(resource, request, reply.bytes);
  if (one.method === "GetPreferredAllocation") checkPrefer(request, reply.bytes);
  // An Allocate that changes nothing: what is asked again is answered with the same bytes.
  if (one.method !== "Allocate") return;
  const again = await resource.client.call("Allocate", Buffer.from(request));
  equal(again.ok && Buffer.compare(again.bytes, reply.bytes), 0, "the same request, the same answer");
  if (request.length > 4) tally.handed++;
}

export const grpc: Target = {
  name: "grpc",
  promise:
    "every request comes to a right answer or to a status with a sentence, never to INTERNAL; no container gets a " +
    "node of an HCA that it did not ask for or that is not the resource's, and preferences are of what is available",
  kinds: ["answered", "refused", "handed"],
  async prepare(): Promise<Prepared> {
    await using cleanup = new AsyncDisposableStack();
    const host = cleanup.adopt(FakeHost.create(FakeHost.temporaryRoot(), preset("mixed")), (one) => one.close());
    const dir = cleanup.use(temporaryDir());
    const snapshot = await discoveryOn(host).scan("full");
    const { states } = track(new Map(), select(SPECS, snapshot), new Map(), 0);
    const served: Served[] = [];
    for (const spec of SPECS) {
      const poolState = states.get(spec.name)!;
      const facts = { rdmaCm: true, knem: true, has: () => false, ownersOf: () => [] };
      const offer = new DevicePluginResource(poolState, facts, {
        codec: protoCodec(),
        sysfsRoot: host.sysfsRoot,
        rescan: () => Promise.resolve(),
        onAllocated: () => {},
      });
      const path = join(dir.path, `${spec.name.replace("/", "-")}.sock`);
      const nothing = () => {};
      const server = await PluginServer.listen(path, offer, {
        onStreams: nothing,
        onListSent: nothing,
        onCall: nothing,
      });
      cleanup.defer(() => server.close(1_000));
      const client = cleanup.use(new BareClient(path));
      served.push({ spec, poolState, ids: devices(poolState).map((one) => one.id), client });
    }
    const tally: Tally = { answered: 0, refused: 0, handed: 0 };
    const rest = cleanup.move();
    return {
      property: fc.asyncProperty(question, (one) => check(served, one, tally)),
      tally,
      [Symbol.asyncDispose]: () => rest.disposeAsync(),
    };
  },
};
