/**
 * The smallest device plugin that a kubelet can talk to: grpc-js, a list that the test sets, answers that the test may
 * replace. It exists to test kubelets (the fake one and the foreign ones), not the project's plugin.
 *
 * @module
 */
import { rmSync } from "node:fs";
import { basename, join } from "node:path";
import {
  Server,
  type ServerUnaryCall,
  type ServerWritableStream,
  type ServiceError,
  type UntypedHandleCall,
} from "@grpc/grpc-js";
import { closeClient, localClient } from "../../src/kubelet/local_client.ts";
import {
  type AllocateRequest,
  type ContainerAllocateResponse,
  type Device,
  devicePluginServices,
  HEALTHY,
  KUBELET_SOCKET,
  type ListAndWatchResponse,
  method,
  type RegisterRequest,
  watcherServices,
} from "../../src/kubelet/api.ts";
import { Connections } from "../../sim/kubelet/socket.ts";
import { Waits } from "../../sim/waits.ts";
import type { PreferredAllocationRequest__Output } from "../../src/gen/v1beta1/PreferredAllocationRequest.ts";
import type { PluginInfo } from "../../src/gen/pluginregistration/PluginInfo.ts";
import type { RegistrationStatus__Output } from "../../src/gen/pluginregistration/RegistrationStatus.ts";

export const RESOURCE = "example.com/rdma";

/** What a test may replace. An Error thrown goes back as a gRPC error with its `code` (default INTERNAL). */
export interface StubOptions {
  readonly resource?: string;
  /** Socket file name; default "stub.sock". */
  readonly endpoint?: string;
  readonly devices?: readonly Device[];
  readonly preStart?: (ids: readonly string[]) => void;
  readonly prefer?: (available: readonly string[], must: readonly string[], size: number) => readonly string[];
  readonly allocate?: (ids: readonly string[]) => ContainerAllocateResponse | Promise<ContainerAllocateResponse>;
  /** Fields of GetInfo to serve otherwise. */
  readonly info?: Partial<PluginInfo>;
  /** Told of every call before it is answered, and of the end of every ListAndWatch. */
  readonly observe?: (event: string, call: ObservedCall) => void;
}

/** What every call has. */
export type ObservedCall = Pick<ServerUnaryCall<unknown, unknown>, "metadata" | "getHost" | "getDeadline">;

type Stream = ServerWritableStream<object, ListAndWatchResponse>;
type Answer = (error: Partial<ServiceError> | null, value?: object) => void;

export function healthy(...ids: readonly string[]): readonly Device[] {
  return ids.map((ID) => ({ ID, health: HEALTHY }));
}

/** A plugin socket in `dir`, listening from the start. */
export class PluginStub {
  readonly dir: string;
  readonly socket: string;
  readonly resource: string;
  /** Names of the calls that came, in order. */
  readonly calls: string[] = [];
  /** What NotifyRegistrationStatus said. */
  readonly notified: RegistrationStatus__Output[] = [];
  /** The `:authority` that the last caller used. */
  authority: string | null = null;
  readonly streams = new Set<Stream>();
  readonly #waits = new Waits();
  #devices: readonly Device[];
  #connections: Connections | null = null;

  private constructor(dir: string, socket: string, options: StubOptions) {
    this.dir = dir;
    this.socket = socket;
    this.resource = options.resource ?? RESOURCE;
    this.#devices = options.devices ?? healthy("a", "b");
  }

  static async listen(dir: string, options: StubOptions = {}): Promise<PluginStub> {
    const socket = join(dir, options.endpoint ?? "stub.sock");
    const server = new Server();
    const stub = new PluginStub(dir, socket, options);
    server.addService(devicePluginServices()["v1beta1.DevicePlugin"], stub.#handlers(options));
    server.addService(watcherServices()["pluginregistration.Registration"], stub.#watcherHandlers(options));
    rmSync(socket, { force: true });
    stub.#connections = await Connections.listen(server, socket);
    return stub;
  }

  /** Registers at `dir`'s kubelet; rejects with grpc-js' ServiceError. */
  async register(request: Partial<RegisterRequest> = {}, timeoutMs = 60_000): Promise<void> {
    const client = localClient(join(this.dir, KUBELET_SOCKET), { "grpc.default_authority": "localhost" });
    const { path, requestSerialize, responseDeserialize } = method<RegisterRequest, object>(
      devicePluginServices()["v1beta1.Registration"],
      "Register",
    );
    const full = { version: "v1beta1", endpoint: basename(this.socket), resource_name: this.resource, ...request };
    const options = { deadline: Date.now() + timeoutMs };
    try {
      await new Promise<void>((resolve, reject) => {
        client.makeUnaryRequest(path, requestSerialize, responseDeserialize, full, options, (error) => {
          if (error === null) resolve();
          else reject(error);
        });
      });
    } finally {
      await closeClient(client);
    }
  }

  /** Sends a new list to everybody who watches; false as soon as one stream cannot take more for now. */
  list(devices: readonly Device[]): boolean {
    this.#devices = devices;
    return [...this.streams].map((stream) => stream.write({ devices: [...devices] })).every((room) => room);
  }

  /** Ends every ListAndWatch stream from the plugin's side. */
  endStreams(): void {
    for (const stream of this.streams) stream.end();
  }

  /** Resolves when nobody watches any more. */
  async streamsGone(): Promise<void> {
    await this.#waits.until(() => this.streams.size === 0, "the ends of the stub's streams");
  }

  /** The first NotifyRegistrationStatus, once it is there. */
  notification(): Promise<RegistrationStatus__Output> {
    return this.#waits.until(() => this.notified[0], "a notification of the stub");
  }

  async close(): Promise<void> {
    await this.#connections?.cut();
  }

  #handlers(options: StubOptions): Record<string, UntypedHandleCall> {
    const answer = async (
      name: string,
      call: ObservedCall,
      reply: Answer,
      make: () => object | Promise<object>,
    ) => {
      this.calls.push(name);
      options.observe?.(name, call);
      try {
        reply(null, await make());
      } catch (error) {
        const { code = 13, message } = error as Partial<ServiceError>;
        reply({ code, details: message ?? "" });
      }
    };
    return {
      GetDevicePluginOptions: (call: ServerUnaryCall<object, object>, reply: Answer) => {
        this.authority = call.getHost();
        return answer("GetDevicePluginOptions", call, reply, () => ({
          pre_start_required: options.preStart !== undefined,
          get_preferred_allocation_available: options.prefer !== undefined,
        }));
      },
      ListAndWatch: (stream: Stream) => {
        this.calls.push("ListAndWatch");
        options.observe?.("ListAndWatch", stream);
        this.streams.add(stream);
        const gone = () => {
          this.streams.delete(stream);
          this.#waits.changed();
        };
        stream.on("cancelled", () => {
          options.observe?.("the kubelet ends ListAndWatch", stream);
          gone();
        });
        stream.on("close", gone);
        stream.write({ devices: [...this.#devices] });
      },
      Allocate: (call: ServerUnaryCall<AllocateRequest, object>, reply: Answer) =>
        answer("Allocate", call, reply, async () => ({
          container_responses: await Promise.all(
            call.request.container_requests.map(({ devices_ids: ids }) =>
              options.allocate?.(ids) ?? { envs: { DEVICES: ids.join(",") } }
            ),
          ),
        })),
      GetPreferredAllocation: (call: ServerUnaryCall<PreferredAllocationRequest__Output, object>, reply: Answer) =>
        answer("GetPreferredAllocation", call, reply, () => ({
          container_responses: call.request.container_requests.map((ask) => ({
            deviceIDs: options.prefer?.(ask.available_deviceIDs, ask.must_include_deviceIDs, ask.allocation_size) ?? [],
          })),
        })),
      PreStartContainer: (call: ServerUnaryCall<{ devices_ids: string[] }, object>, reply: Answer) =>
        answer("PreStartContainer", call, reply, () => {
          options.preStart?.(call.request.devices_ids);
          return {};
        }),
    };
  }

  #watcherHandlers(options: StubOptions): Record<string, UntypedHandleCall> {
    return {
      GetInfo: (call: ServerUnaryCall<object, object>, reply: Answer) => {
        this.calls.push("GetInfo");
        options.observe?.("GetInfo", call);
        reply(null, { type: "DevicePlugin", name: this.resource, supported_versions: ["v1beta1"], ...options.info });
      },
      NotifyRegistrationStatus: (call: ServerUnaryCall<RegistrationStatus__Output, object>, reply: Answer) => {
        this.calls.push("NotifyRegistrationStatus");
        options.observe?.("NotifyRegistrationStatus", call);
        this.notified.push(call.request);
        reply(null, {});
        this.#waits.changed();
      },
    };
  }
}
