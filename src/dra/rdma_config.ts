/**
 * `RdmaConfig`, the opaque parameters of a DeviceClass or ResourceClaim for this driver. Strict: unknown fields are an
 * error that keeps the pod from starting, rather than being ignored.
 *
 * @module
 */
import * as z from "zod";

/** Kinds of device nodes that the parameters can choose. */
export type NodeKind = "uverbs" | "umad" | "issm" | "rdma_cm";

export const CONFIG_API_VERSION = "rdma.tencent.com/v1alpha1";
export const CONFIG_KIND = "RdmaConfig";

const RdmaConfig = z.strictObject({
  apiVersion: z.literal(CONFIG_API_VERSION),
  kind: z.literal(CONFIG_KIND),
  devices: z.array(z.enum(["uverbs", "umad", "issm", "rdma_cm"])).min(1).max(4).optional(),
  env: z.boolean().optional(),
});
export type RdmaConfig = z.infer<typeof RdmaConfig>;

export type ParsedConfig =
  | { readonly ok: true; readonly config: RdmaConfig }
  | { readonly ok: false; readonly reason: string };

/** Reads the parameters of one `config` entry. */
export function parseRdmaConfig(parameters: unknown): ParsedConfig {
  const parsed = RdmaConfig.safeParse(parameters);
  if (parsed.success) return { ok: true, config: parsed.data };
  const first = parsed.error.issues[0]!;
  const where = first.path.length === 0 ? "" : `${first.path.join(".")}: `;
  return { ok: false, reason: `${where}${first.message}` };
}
