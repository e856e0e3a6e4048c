/**
 * Encodes messages of the device-plugin API. Lists and answers are encoded once, when they are created, and the same
 * bytes are sent on every stream and for every repetition of a call.
 *
 * @module
 */
import { Buffer } from "node:buffer";
import {
  type AllocateRequest,
  type AllocateResponse,
  devicePluginServices,
  HEALTHY,
  type ListAndWatchResponse,
  method,
  UNHEALTHY,
} from "../kubelet/api.ts";
import { listBytes } from "./list_bytes.ts";
import type { PreferredAllocationRequest__Output } from "../gen/v1beta1/PreferredAllocationRequest.ts";
import type { PreferredAllocationResponse } from "../gen/v1beta1/PreferredAllocationResponse.ts";
import type { OfferedDevice } from "../pool/devices.ts";
import type { Grant } from "../pool/allocate.ts";

/** CDI names and annotations that replace device nodes. */
export interface CdiGrant {
  readonly names: readonly string[];
  readonly annotations: Readonly<Record<string, string>>;
}

/** The answer for one container in an AllocateResponse. */
export interface ContainerAnswer {
  readonly grant: Grant;
  readonly cdi: CdiGrant | null;
}

/** Encoders and decoders of the messages that the plugin handles as bytes. */
export interface Codec {
  list(devices: readonly OfferedDevice[]): Buffer;
  allocateRequest(bytes: Buffer): AllocateRequest;
  allocateResponse(containers: readonly ContainerAnswer[]): Buffer;
  preferredRequest(bytes: Buffer): PreferredAllocationRequest__Output;
  preferredResponse(containers: readonly (readonly string[])[]): Buffer;
}

/** The codec of `proto/deviceplugin.proto`. */
export function protoCodec(): Codec {
  const service = devicePluginServices()["v1beta1.DevicePlugin"];
  const listAndWatch = method<unknown, ListAndWatchResponse>(service, "ListAndWatch");
  const allocate = method<AllocateRequest, AllocateResponse>(service, "Allocate");
  const preferred = method<PreferredAllocationRequest__Output, PreferredAllocationResponse>(
    service,
    "GetPreferredAllocation",
  );
  return {
    // One device without ID: field 1 with its length, which fits in one or two bytes.
    list: (devices) =>
      listBytes(devices, (one) => {
        const alone = listAndWatch.responseSerialize({ devices: [condition(one)] });
        return alone.subarray(alone[1]! < 0x80 ? 2 : 3);
      }),
    allocateRequest: (bytes) => allocate.requestDeserialize(bytes),
    allocateResponse: (containers) => allocate.responseSerialize({ container_responses: containers.map(answer) }),
    preferredRequest: (bytes) => preferred.requestDeserialize(bytes),
    preferredResponse: (containers) =>
      preferred.responseSerialize({ container_responses: containers.map((ids) => ({ deviceIDs: [...ids] })) }),
  };
}

function condition({ healthy, numaNodes }: Omit<OfferedDevice, "id">) {
  const topology = numaNodes.length === 0 ? {} : { topology: { nodes: numaNodes.map((ID) => ({ ID })) } };
  return { health: healthy ? HEALTHY : UNHEALTHY, ...topology };
}

function answer({ grant, cdi }: ContainerAnswer) {
  const mounts = grant.mounts.map((mount) => ({
    container_path: mount.containerPath,
    host_path: mount.hostPath,
    read_only: mount.readOnly,
  }));
  // With CDI the runtime takes nodes and mounts from the spec file; sending both would add every node twice.
  if (cdi !== null) {
    return {
      envs: { ...grant.env },
      annotations: { ...cdi.annotations },
      cdi_devices: cdi.names.map((name) => ({ name })),
    };
  }
  const devices = grant.nodes.map((node) => ({
    container_path: node.containerPath,
    host_path: node.hostPath,
    permissions: node.permissions,
  }));
  return { envs: { ...grant.env }, mounts, devices };
}
