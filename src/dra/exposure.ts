/**
 * Which device nodes and variables a request gets: what the node's configuration allows, narrowed by the class, narrowed by
 * the claim. Pure.
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

/** Without a word of the class: what every program needs and nothing that manages the fabric. */
const UNPRIVILEGED: readonly NodeKind[] = ["uverbs", "rdma_cm"];

/** The entries of a claim's configuration that are meant for this driver and this request. */
export function configFor(
  config: readonly AllocationConfig[],
  driver: string,
  request: string,
): readonly AllocationConfig[] {
  const main = request.split("/")[0]!;
  const concerns = ({ requests = [] }: AllocationConfig) =>
    requests.length === 0 || requests.includes(request) || requests.includes(main);
  const ours = config.filter((one) => one.opaque?.driver === driver && concerns(one));
  // The class is the cluster's administrator, and comes first whatever the order in the object.
  return [...ours.filter((one) => one.source === "FromClass"), ...ours.filter((one) => one.source !== "FromClass")];
}

/**
 * @param parse reads the parameters of an entry
 * @returns a sentence when the claim asks for what it must not have, or in a way that is not understood
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
