/**
 * The kubelet's PodResources API on a socket of its own: which pod has which devices, through either of the two APIs.
 *
 * @module
 */
import { mkdirSync, rmSync } from "node:fs";
import { dirname } from "node:path";
import { type sendUnaryData, Server, ServerCredentials } from "@grpc/grpc-js";
import { podResourcesServices } from "../../src/kubelet/api.ts";
import type { ListPodResourcesResponse } from "../../src/gen/v1/ListPodResourcesResponse.ts";
import { type Allocation, idsOf } from "./allocations.ts";
import type { DraManager } from "./dra.ts";

/** Serves until it is closed. */
export class PodResourcesServer {
  readonly #server: Server;
  readonly #path: string;

  private constructor(server: Server, path: string) {
    this.#server = server;
    this.#path = path;
  }

  static async listen(path: string, allocations: () => readonly Allocation[], dra: DraManager | null) {
    mkdirSync(dirname(path), { recursive: true });
    rmSync(path, { force: true });
    const server = new Server();
    server.addService(podResourcesServices()["v1.PodResourcesLister"], {
      List: (_: unknown, callback: sendUnaryData<ListPodResourcesResponse>) =>
        callback(null, answer(allocations(), dra)),
    });
    await new Promise<void>((resolve, reject) =>
      server.bindAsync(
        `unix:${path}`,
        ServerCredentials.createInsecure(),
        (error) => error === null ? resolve() : reject(error),
      )
    );
    return new PodResourcesServer(server, path);
  }

  close(): void {
    this.#server.forceShutdown();
    rmSync(this.#path, { force: true });
  }
}

function answer(allocations: readonly Allocation[], dra: DraManager | null): ListPodResourcesResponse {
  const plugin = allocations.map((one) => ({
    name: one.pod,
    namespace: "default",
    containers: [{ name: one.container, devices: [{ resource_name: one.resource, device_ids: [...idsOf(one)] }] }],
  }));
  const claims = (dra?.dynamicResources() ?? []).map(({ pod, claim, devices }) => ({
    name: pod,
    namespace: claim.namespace,
    containers: [{
      name: "main",
      dynamic_resources: [{
        claim_name: claim.name,
        claim_namespace: claim.namespace,
        claim_resources: devices.map(({ pool_name = "", device_name = "" }) => ({
          driver_name: claim.driver,
          pool_name,
          device_name,
        })),
      }],
    }],
  }));
  return { pod_resources: [...plugin, ...claims] };
}
