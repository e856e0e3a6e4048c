/**
 * The device nodes and variables of a request: those of the node's configuration, restricted by the DeviceClass and
 * then by the claim. Pure.
 *
 * @module
 */
import type { AllocationConfig } from "../kubernetes/resource_api.ts";
import type { EnvPolicy, Expose, ResourceSpec } from "../pool/spec.ts";
import type { NodeKind, ParsedConfig } from "./rdma_config.ts";

export interface Exposure {
  readonly expose: Expose;
  readonly env: EnvPolicy;
}

/**
 * The default if the DeviceClass says nothing: the nodes that every program needs, and none that manages the fabric.
 */
const UNPRIVILEGED: readonly NodeKind[] = ["uverbs", "rdma_cm"];

/** The entries of a claim's configuration for this driver and request. */
export function configFor(
  config: readonly AllocationConfig[],
  driver: string,
  request: string,
): readonly AllocationConfig[] {
  const main = request.split("/")[0]!;
  const concerns = ({ requests = [] }: AllocationConfig) =>
    requests.length === 0 || requests.includes(request) || requests.includes(main);
  const ours = config.filter((one) => one.opaque?.driver === driver && concerns(one));
  // The DeviceClass is written by the cluster's administrator and is applied first, whatever the order in the object.
  return [...ours.filter((one) => one.source === "FromClass"), ...ours.filter((one) => one.source !== "FromClass")];
}

/**
 * @param parse reads the parameters of an entry
 * @returns the reason when the claim requests nodes that it may not have, or its parameters are invalid
 */
export function exposure(
  spec: ResourceSpec,
  config: readonly AllocationConfig[],
  parse: (parameters: unknown) => ParsedConfig,
): { readonly ok: true; readonly exposure: Exposure } | { readonly ok: false; readonly reason: string } {
  let allowed: ReadonlySet<NodeKind> = new Set(UNPRIVILEGED);
  let chosen = allowed;
  let env = true;
  for (const { source, opaque } of config) {
    const parsed = parse(opaque!.parameters);
    const who = source === "FromClass" ? "the DeviceClass" : "the claim";
    if (!parsed.ok) return { ok: false, reason: `the parameters of ${who} are not understood: ${parsed.reason}` };
    const { devices, env: wantsEnv } = parsed.config;
    if (devices !== undefined) {
      const more = source === "FromClass" ? undefined : devices.find((kind) => !allowed.has(kind));
      if (more !== undefined) {
        return { ok: false, reason: `the claim asks for ${more}, which only a DeviceClass can give` };
      }
      chosen = new Set(devices);
      if (source === "FromClass") allowed = chosen;
    }
    env = wantsEnv ?? env;
  }
  for (const kind of ["umad", "issm"] as const) {
    if (chosen.has(kind) && !spec.expose[kind]) {
      return {
        ok: false,
        reason: `the DeviceClass gives ${kind}, and the node's configuration of ${spec.name} does not`,
      };
    }
  }
  const { expose } = spec;
  const rdmaCm = expose.rdmaCm && chosen.has("rdma_cm");
  return {
    ok: true,
    exposure: {
      expose: { ...expose, rdmaCm, umad: chosen.has("umad"), issm: chosen.has("issm") },
      env: env ? spec.env : { ...spec.env, rdma: false, nccl: false, ucx: false, pcidevice: false, extra: {} },
    },
  };
}
