/**
 * Whether a device may be handed out right now: the requirements of its resource against what was just read. Pure and
 * without memory; {@link file://./states.ts} adds time.
 *
 * @module
 */
import type { Hca, Port } from "../hca/types.ts";
import type { Member } from "./select.ts";
import type { HealthPolicy } from "./spec.ts";

/** What speaks against a device. */
export interface UnhealthyReason {
  readonly hca: string;
  /** null when it concerns the whole HCA. */
  readonly port: number | null;
  /** Without the HCA's name in front: "port 1 is DOWN (Polling)". */
  readonly reason: string;
}

/** Null when every requirement holds, else the first that does not. Every HCA of the member must be fit. */
export function unhealthyReason(member: Member, policy: HealthPolicy): UnhealthyReason | null {
  if (member.claimedBy !== undefined) {
    const hca = member.hcas.map((one) => one.name).join("+");
    return { hca, port: null, reason: `${member.claimedBy} has it through DRA` };
  }
  if (member.inPodNetns) return null; // in a pod's network namespace, where only the pod sees its ports
  for (const hca of member.hcas) {
    const found = hcaUnhealthyReason(hca, policy);
    if (found !== null) return { hca: hca.name, ...found };
  }
  return null;
}

function hcaUnhealthyReason(hca: Hca, policy: HealthPolicy): Omit<UnhealthyReason, "hca"> | null {
  if (hca.uverbs === null) {
    return { port: null, reason: "it has no uverbs node: it is being removed, or ib_uverbs is not loaded" };
  }
  if (!hca.uverbs.present) {
    return { port: null, reason: `/dev/infiniband/${hca.uverbs.name} does not exist` };
  }
  if (policy.policy === "present") return null;
  const absent = policy.ports?.find((number) => !hca.ports.some((port) => port.number === number));
  if (absent !== undefined) return { port: absent, reason: `it has no port ${absent}` };
  const ports = hca.ports.filter((port) => policy.ports === null || policy.ports.includes(port.number));
  if (ports.length === 0) return { port: null, reason: "it has no ports" };
  const bad = ports.filter((port) => !fit(port, policy));
  const enough = policy.require === "all" ? bad.length === 0 : bad.length < ports.length;
  if (enough) return null;
  return { port: bad.length === 1 ? bad[0]!.number : null, reason: bad.map(describe).join(", ") };
}

function fit(port: Port, policy: HealthPolicy): boolean {
  return policy.policy === "link-up" ? port.physState === "LinkUp" : port.state === "ACTIVE";
}

function describe(port: Port): string {
  if (port.state === "unknown") {
    return `port ${port.number}'s state cannot be read; the HCA may be going away, or hangs`;
  }
  const physical = port.physState === null ? "" : ` (${port.physState})`;
  const hint = port.state === "INIT" && port.linkLayer === "InfiniBand" ? "; is a subnet manager running?" : "";
  return `port ${port.number} is ${port.state}${physical}${hint}`;
}
