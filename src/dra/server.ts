/**
 * The driver's two sockets: one serves DRAPlugin and DRAResourceHealth; the other serves Registration in the plugin
 * watcher's directory, where the kubelet discovers the driver.
 *
 * @module
 */
import { mkdirSync } from "node:fs";
import { dirname } from "node:path";
import {
  type sendUnaryData,
  Server,
  type ServerUnaryCall,
  type ServerWritableStream,
  type UntypedServiceImplementation,
} from "@grpc/grpc-js";
import type { NodePrepareResourcesRequest__Output } from "../gen/k8s/io/kubelet/pkg/apis/dra/v1/NodePrepareResourcesRequest.ts";
import type { NodePrepareResourcesResponse } from "../gen/k8s/io/kubelet/pkg/apis/dra/v1/NodePrepareResourcesResponse.ts";
import type { NodeUnprepareResourcesRequest__Output } from "../gen/k8s/io/kubelet/pkg/apis/dra/v1/NodeUnprepareResourcesRequest.ts";
import type { NodeUnprepareResourcesResponse } from "../gen/k8s/io/kubelet/pkg/apis/dra/v1/NodeUnprepareResourcesResponse.ts";
import type { NodeWatchResourcesResponse } from "../gen/v1alpha1/NodeWatchResourcesResponse.ts";
import { draServices, healthServices } from "../kubelet/api.ts";
import { bind } from "../kubelet/bind.ts";
import { watcherService } from "../kubelet/plugin_watcher.ts";
import {
  checkSocketPath,
  type FileIdentity,
  identityOf,
  moveIntoPlace,
  removeIfOurs,
  temporaryPath,
} from "../kubelet/socket_file.ts";
import type { PrepareAnswer, PrepareCall } from "./claims.ts";
import { type ClaimRef, nameOf } from "./claim_record.ts";

/** Handles the kubelet's calls. */
export interface DraHandler {
  prepare(ref: ClaimRef, call: PrepareCall): Promise<PrepareAnswer>;
  /** Returns null on success, otherwise the reason. */
  unprepare(ref: ClaimRef): Promise<string | null>;
  watchHealth(stream: ServerWritableStream<object, NodeWatchResourcesResponse>): void;
}

/**
 * The kubelet uses the first DRAPlugin version that it supports (`v1` since Kubernetes 1.34); health is not negotiated.
 */
export const DRA_VERSIONS = ["v1.DRAPlugin", "v1alpha1.DRAResourceHealth"];

/** Time to flush the last answer, in milliseconds. */
const FLUSH_MS = 200;

/** Calls under way. */
class Calls {
  readonly #open = new Set<Promise<unknown>>();

  track<T>(call: Promise<T>): Promise<T> {
    const done = call.catch(() => undefined).finally(() => this.#open.delete(done));
    this.#open.add(done);
    return call;
  }

  async ended(graceMs: number): Promise<void> {
    if (this.#open.size === 0) return;
    let timer: ReturnType<typeof setTimeout> | undefined;
    const late = new Promise<void>((resolve) => timer = setTimeout(resolve, graceMs));
    await Promise.race([Promise.all(this.#open), late]);
    clearTimeout(timer);
  }
}

/** A gRPC server on one socket file. */
export class SocketServer {
  readonly path: string;
  readonly #server: Server;
  readonly #identity: FileIdentity;
  readonly #calls: Calls;

  private constructor(server: Server, path: string, identity: FileIdentity, calls: Calls) {
    this.#server = server;
    this.#calls = calls;
    this.path = path;
    this.#identity = identity;
  }

  /** @throws when the socket cannot be created; the message says why */
  static async listen(path: string, add: (server: Server, calls: Calls) => void): Promise<SocketServer> {
    checkSocketPath(path);
    const server = new Server({ "grpc.enable_channelz": 0 });
    const calls = new Calls();
    add(server, calls);
    const bound = temporaryPath(path);
    try {
      await bind(server, bound);
      return new SocketServer(server, path, moveIntoPlace(bound, path), calls);
    } catch (error) {
      server.forceShutdown();
      throw error;
    }
  }

  /** Whether the socket file is still the one that this server created. */
  get inPlace(): boolean {
    return identityOf(this.path) === this.#identity;
  }

  /** Removes the socket file if it is still in place, and waits up to `graceMs` for calls in flight. */
  async close(graceMs: number): Promise<void> {
    try {
      removeIfOurs(this.path, this.#identity);
    } finally {
      await this.#calls.ended(graceMs);
      // The kubelet may keep its connection open, so do not wait for its end, only for the last answer to be sent.
      let timer: ReturnType<typeof setTimeout> | undefined;
      const late = new Promise<false>((resolve) =>
        timer = setTimeout(() => resolve(false), Math.min(graceMs, FLUSH_MS))
      );
      const drained = new Promise<true>((resolve) => this.#server.tryShutdown(() => resolve(true)));
      if (!await Promise.race([drained, late])) this.#server.forceShutdown();
      clearTimeout(timer);
    }
  }
}

/** Serves DRAPlugin and health. */
export function listenDra(path: string, handler: DraHandler): Promise<SocketServer> {
  mkdirSync(dirname(path), { recursive: true, mode: 0o750 });
  return SocketServer.listen(path, (server, calls) => {
    const dra: UntypedServiceImplementation = {
      NodePrepareResources: (
        call: ServerUnaryCall<NodePrepareResourcesRequest__Output, NodePrepareResourcesResponse>,
        callback: sendUnaryData<NodePrepareResourcesResponse>,
      ) => {
        const cancelled = new AbortController();
        call.on("cancelled", () => cancelled.abort());
        // Sequential: the second claim of a pod must see what the first one holds.
        const { signal } = cancelled;
        calls.track(prepareAll(call.request.claims, handler, { signal, begun: performance.now() })).then(
          (claims) => callback(null, { claims }),
          fail(callback),
        );
      },
      NodeUnprepareResources: (
        call: ServerUnaryCall<NodeUnprepareResourcesRequest__Output, NodeUnprepareResourcesResponse>,
        callback: sendUnaryData<NodeUnprepareResourcesResponse>,
      ) => {
        calls.track(unprepareAll(call.request.claims, handler)).then(
          (claims) => callback(null, { claims }),
          fail(callback),
        );
      },
    };
    server.addService(draServices()["k8s.io.kubelet.pkg.apis.dra.v1.DRAPlugin"], dra);
    server.addService(healthServices()["v1alpha1.DRAResourceHealth"], {
      NodeWatchResources: (stream: ServerWritableStream<object, NodeWatchResourcesResponse>) =>
        handler.watchHealth(stream),
    });
  });
}

/** Serves Registration for a socket in the plugin watcher's directory. */
export function listenRegistration(
  path: string,
  driver: string,
  endpoint: string,
  onStatus: (refused: string | null) => void,
): Promise<SocketServer> {
  const info = { type: "DRAPlugin", name: driver, endpoint, supported_versions: DRA_VERSIONS };
  const { definition, handlers } = watcherService(info, onStatus);
  return SocketServer.listen(path, (server) => server.addService(definition, handlers));
}

async function prepareAll(claims: readonly ClaimRef[], handler: DraHandler, call: PrepareCall) {
  const answers: NonNullable<NodePrepareResourcesResponse["claims"]> = {};
  let refused: ClaimRef | null = null;
  for (const ref of claims.map(({ namespace, name, uid }) => ({ namespace, name, uid }))) {
    // The pod cannot start without the refused claim, and the kubelet will ask for all of its claims again.
    if (refused !== null) {
      answers[ref.uid] = { error: `not tried, because claim ${nameOf(refused)} of the same pod was refused` };
      continue;
    }
    const answer = await handler.prepare(ref, call);
    if (!answer.ok) refused = ref;
    answers[ref.uid] = !answer.ok ? { error: answer.reason } : {
      devices: answer.devices.map((one) => ({
        request_names: [...one.requests],
        pool_name: one.pool,
        device_name: one.device,
        cdi_device_ids: [...one.cdiIds],
        ...one.shareID === null ? {} : { share_id: one.shareID },
      })),
    };
  }
  return answers;
}

async function unprepareAll(claims: readonly ClaimRef[], handler: DraHandler) {
  const answers: NonNullable<NodeUnprepareResourcesResponse["claims"]> = {};
  for (const { namespace, name, uid } of claims) {
    const reason = await handler.unprepare({ namespace, name, uid });
    answers[uid] = reason === null ? {} : { error: reason };
  }
  return answers;
}

/** Answers unexpected errors with status INTERNAL. */
function fail<T>(callback: sendUnaryData<T>) {
  return (error: unknown) => callback({ code: 13, details: error instanceof Error ? error.message : String(error) });
}
