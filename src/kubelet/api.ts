/**
 * The kubelet's gRPC APIs: constants, message types, and the service definitions of `proto/`. Shared by the plugin
 * (server of DevicePlugin, client of Registration) and by the sim's kubelet (the reverse), so that both use one set of
 * files.
 *
 * @module
 */
import "./http2_goaway.ts";
import {
  type ChannelOptions,
  type MethodDefinition,
  type ServiceDefinition,
  type ServiceError,
  status,
} from "@grpc/grpc-js";
import { Buffer } from "node:buffer";
import protobuf from "protobufjs";
import devicePluginDescriptor from "../gen/deviceplugin.json" with { type: "json" };
import watcherDescriptor from "../gen/pluginregistration.json" with { type: "json" };
import draDescriptor from "../gen/dra.json" with { type: "json" };
import healthDescriptor from "../gen/drahealth.json" with { type: "json" };
import podResourcesDescriptor from "../gen/podresources.json" with { type: "json" };

export type { AllocateRequest__Output as AllocateRequest } from "../gen/v1beta1/AllocateRequest.ts";
export type { AllocateResponse } from "../gen/v1beta1/AllocateResponse.ts";
export type { ContainerAllocateResponse } from "../gen/v1beta1/ContainerAllocateResponse.ts";
export type { Device } from "../gen/v1beta1/Device.ts";
export type { DeviceSpec } from "../gen/v1beta1/DeviceSpec.ts";
export type { ListAndWatchResponse } from "../gen/v1beta1/ListAndWatchResponse.ts";
export type { Mount } from "../gen/v1beta1/Mount.ts";
export type { RegisterRequest } from "../gen/v1beta1/RegisterRequest.ts";

/** The only API version; kubelet `deviceplugin/v1beta1/constants.go`. */
export const API_VERSION = "v1beta1";
/** The kubelet's Registration socket inside that directory. */
export const KUBELET_SOCKET = "kubelet.sock";
export const HEALTHY = "Healthy";
export const UNHEALTHY = "Unhealthy";

/**
 * Options of all gRPC clients of this project. When a server's GOAWAY arrives in one read with its SETTINGS, grpc-js
 * 1.14 keeps a connection that it considers ready although it is closed. With retries it then restarts the call in a
 * loop without yielding to the event loop, so that not even the deadline ends it; without retries the call fails. A
 * pool per client prevents that such a connection is reused by the next client.
 */
export const CLIENT_OPTIONS: ChannelOptions = { "grpc.enable_retries": 0, "grpc.use_local_subchannel_pool": 1 };

/** What grpc-js says of a call whose stream ended without a status, which it may hear of before the connection's end. */
const ENDED_WITHOUT_STATUS = /^Failed to start HTTP\/2 stream|^Call cancelled$|Call ended without gRPC status/;

/** Whether no server answered the call, as if nothing were listening: a refusal has a status of the server's. */
export function withoutAnswer(error: ServiceError): boolean {
  return error.code === status.UNAVAILABLE || ENDED_WITHOUT_STATUS.test(error.details);
}

/** Representation of messages for the plugin, the sim and the type generator. */
const MESSAGES: protobuf.IConversionOptions = { longs: Number, enums: String, defaults: true, oneofs: true };

type Services = "v1beta1.Registration" | "v1beta1.DevicePlugin";
type WatcherServices = "pluginregistration.Registration";
type PodServices = "v1.PodResourcesLister";
type DraServices = "k8s.io.kubelet.pkg.apis.dra.v1.DRAPlugin";
type HealthServices = "v1alpha1.DRAResourceHealth";

const loaded = new Map<object, Readonly<Record<string, ServiceDefinition>>>();

/**
 * The services of a descriptor. Not proto-loader's, which describes every message once more for a reflection service
 * that is not served here: a tenth of a start. What a message needs is made when it is first met.
 *
 * @param descriptor what `deno task proto` makes of a file of proto/; part of the program, nothing is read at run time
 */
function load<Name extends string>(descriptor: object): Readonly<Record<Name, ServiceDefinition>> {
  const known = loaded.get(descriptor);
  // The names we ask for are services by construction of proto/.
  if (known !== undefined) return known as Readonly<Record<Name, ServiceDefinition>>;
  const root = protobuf.Root.fromJSON(descriptor as protobuf.INamespace).resolveAll();
  const found = Object.fromEntries(servicesIn(root).map((one) => [one.fullName.slice(1), definition(one)]));
  loaded.set(descriptor, found);
  return found as Readonly<Record<Name, ServiceDefinition>>;
}

function servicesIn(space: protobuf.NamespaceBase): readonly protobuf.Service[] {
  return space.nestedArray.flatMap((one) =>
    one instanceof protobuf.Service ? [one] : one instanceof protobuf.Namespace ? servicesIn(one) : []
  );
}

function definition(service: protobuf.Service): ServiceDefinition {
  const encode = (type: protobuf.Type) => (message: object) => {
    const bytes = type.encode(type.fromObject(message)).finish();
    return Buffer.from(bytes.buffer, bytes.byteOffset, bytes.byteLength);
  };
  const decode = (type: protobuf.Type) => (bytes: Buffer) => type.toObject(type.decode(bytes), MESSAGES);
  return Object.fromEntries(service.methodsArray.map((one) => {
    one.resolve();
    const { resolvedRequestType: request, resolvedResponseType: response } = one;
    return [one.name, {
      path: `/${service.fullName.slice(1)}/${one.name}`,
      requestStream: one.requestStream ?? false,
      responseStream: one.responseStream ?? false,
      requestSerialize: encode(request!),
      requestDeserialize: decode(request!),
      responseSerialize: encode(response!),
      responseDeserialize: decode(response!),
    }];
  }));
}

/** Definitions of `v1beta1.Registration` and `v1beta1.DevicePlugin`. */
export function devicePluginServices(): Readonly<Record<Services, ServiceDefinition>> {
  return load<Services>(devicePluginDescriptor);
}

/** Definition of `pluginregistration.Registration`. */
export function watcherServices(): Readonly<Record<WatcherServices, ServiceDefinition>> {
  return load<WatcherServices>(watcherDescriptor);
}

/** Definition of `v1.PodResourcesLister`. */
export function podResourcesServices(): Readonly<Record<PodServices, ServiceDefinition>> {
  return load<PodServices>(podResourcesDescriptor);
}

/** Definition of the DRA driver's service. */
export function draServices(): Readonly<Record<DraServices, ServiceDefinition>> {
  return load<DraServices>(draDescriptor);
}

/** Definition of `v1alpha1.DRAResourceHealth`. */
export function healthServices(): Readonly<Record<HealthServices, ServiceDefinition>> {
  return load<HealthServices>(healthDescriptor);
}

/** Returns one method of a service definition; throws for an unknown name, which is a programming error. */
export function method<Req, Res>(service: ServiceDefinition, name: string): MethodDefinition<Req, Res> {
  const found = service[name];
  if (found === undefined) throw new Error(`Cannot find method ${name} in the service definition`);
  return found as MethodDefinition<Req, Res>;
}
