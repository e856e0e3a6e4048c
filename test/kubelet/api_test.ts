import { deepEqual } from "@std/assert";
import { Buffer } from "node:buffer";
import { fromJSON, type MethodDefinition } from "@grpc/proto-loader";
import devicePlugin from "../../src/gen/deviceplugin.json" with { type: "json" };
import watcher from "../../src/gen/pluginregistration.json" with { type: "json" };
import podResources from "../../src/gen/podresources.json" with { type: "json" };
import { devicePluginServices, method, podResourcesServices, watcherServices } from "../../src/kubelet/api.ts";

const OPTIONS = { keepCase: true, longs: Number, enums: String, defaults: true, oneofs: true } as const;
type Loaded = Readonly<Record<string, Readonly<Record<string, MethodDefinition<object, object>>>>>;

/** One message of each kind with everything that the wire format has: maps, repeated fields, nesting, long numbers. */
const MESSAGES: readonly (readonly [string, string, object, object])[] = [
  ["v1beta1.DevicePlugin", "Allocate", { container_requests: [{ devices_ids: ["a", "b"] }, {}] }, {
    container_responses: [{
      envs: { A: "1", B: "" },
      mounts: [{ container_path: "/c", host_path: "/h", read_only: true }],
      devices: [{ container_path: "/dev/c", host_path: "/dev/h", permissions: "rw" }],
      annotations: { "x/y": "z" },
      cdi_devices: [{ name: "a/b=c" }],
    }],
  }],
  ["v1beta1.DevicePlugin", "ListAndWatch", {}, {
    devices: [{ ID: "ü", health: "Healthy", topology: { nodes: [{ ID: 0 }, { ID: 2 ** 40 }] } }, {}],
  }],
  ["v1beta1.DevicePlugin", "GetPreferredAllocation", {
    container_requests: [{ available_deviceIDs: ["a"], must_include_deviceIDs: [], allocation_size: 3 }],
  }, { container_responses: [{ deviceIDs: ["a"] }] }],
  ["v1beta1.Registration", "Register", {
    version: "v1beta1",
    endpoint: "e.sock",
    resource_name: "r/n",
    options: { get_preferred_allocation_available: true },
  }, {}],
  ["pluginregistration.Registration", "GetInfo", {}, {
    type: "DevicePlugin",
    name: "n",
    endpoint: "e",
    supported_versions: ["v1beta1"],
  }],
  ["v1.PodResourcesLister", "List", {}, {
    pod_resources: [{ name: "p", namespace: "n", containers: [{ name: "c", cpu_ids: [1, 300, 2 ** 40] }] }],
  }],
];

Deno.test("the service definitions are what proto-loader makes of the same files, byte for byte", () => {
  const theirs = Object.assign(
    {},
    ...[devicePlugin, watcher, podResources].map((one) => fromJSON(one as Parameters<typeof fromJSON>[0], OPTIONS)),
  ) as Loaded;
  const ours = { ...devicePluginServices(), ...watcherServices(), ...podResourcesServices() };
  for (const [service, definition] of Object.entries(ours)) {
    const shape = (of: Readonly<Record<string, MethodDefinition<object, object>>>) =>
      Object.entries(of).map(([name, { path, requestStream, responseStream }]) => ({
        name,
        path,
        requestStream,
        responseStream,
      }));
    deepEqual(shape(definition as never), shape(theirs[service]!), service);
  }
  for (const [service, name, request, response] of MESSAGES) {
    const mine = method<object, object>(ours[service as keyof typeof ours], name);
    const other = theirs[service]![name]!;
    const bytes = { request: other.requestSerialize(request), response: other.responseSerialize(response) };
    deepEqual(mine.requestSerialize(request), bytes.request, name);
    deepEqual(mine.responseSerialize(response), bytes.response, name);
    for (const one of [Buffer.alloc(0), bytes.request]) {
      deepEqual(plain(mine.requestDeserialize(one)), plain(other.requestDeserialize(one)), name);
    }
    for (const one of [Buffer.alloc(0), bytes.response]) {
      deepEqual(plain(mine.responseDeserialize(one)), plain(other.responseDeserialize(one)), name);
    }
  }
});

/** As JSON has it: objects of two libraries have no prototype in common. */
function plain(message: object): unknown {
  return JSON.parse(JSON.stringify(message));
}
