/**
 * Whether a device may be allocated now: compares the last reading with the requirements of its resource. Pure and
 * stateless; {@link file://./states.ts} adds time.
 *
 * @module
 */
import type { Hca, Port } from "../hca/types.ts";
import { type ExceededRules, exceededText, NONE_EXCEEDED, ruleKey, type WatchedCounter } from "./errors.ts";
import { carriesRdma } from "./match.ts";
import { selectedPorts } from "./ports.ts";
import type { Member } from "./select.ts";
import type { HealthPolicy, ResourceSpec } from "./spec.ts";

/** The reason why a device is not healthy. */
export interface UnhealthyReason {
  readonly hca: string;
  /** null when it concerns the whole HCA. */
  readonly port: number | null;
  /** Without the HCA's name: "port 1 is DOWN (Polling)". */
  readonly reason: string;
  /** The counter whose errors are the reason; null for other reasons. */
  readonly counter: string | null;
}

/**
 * The first requirement that does not hold, or null. All HCAs of the member must meet the requirements.
 *
 * @param exceeded the rules that counters exceed, of this resource or another
 */
export function unhealthyReason(
  member: Member,
  spec: ResourceSpec,
  exceeded: ExceededRules = NONE_EXCEEDED,
): UnhealthyReason | null {
  if (member.claimedBy !== undefined) {
    const hca = member.hcas.map((one) => one.name).join("+");
    return { hca, port: null, reason: `${member.claimedBy} has it through DRA`, counter: null };
  }
  if (member.inPodNetns) return null; // its ports are only visible in the pod's network namespace
  for (const hca of member.hcas) {
    const errors = (exceeded.get(hca.name) ?? []).filter(({ rule }) =>
      spec.health.errors.some((one) => ruleKey(one) === ruleKey(rule))
    );
    const found = hcaUnhealthyReason(hca, spec, errors);
    if (found !== null) return { hca: hca.name, counter: null, ...found };
  }
  return null;
}

/**
 * The requirements for an HCA to be Healthy. By default a VF only has to be present: its link is down until a CNI
 * plugin sets it up inside the pod, so a VF that waited for its link would never be allocated.
 */
export function policyFor(hca: Hca, { policy }: HealthPolicy): Exclude<HealthPolicy["policy"], "auto"> {
  return policy === "auto" ? hca.kind === "vf" ? "present" : "port-active" : policy;
}

type HcaReason = Omit<UnhealthyReason, "hca" | "counter"> & Partial<Pick<UnhealthyReason, "counter">>;

function hcaUnhealthyReason(hca: Hca, spec: ResourceSpec, errors: readonly WatchedCounter[]): HcaReason | null {
  const { health } = spec;
  if (hca.uverbs === null) {
    return { port: null, reason: "it has no uverbs node: it is being removed, or ib_uverbs is not loaded" };
  }
  if (!hca.uverbs.present) {
    return { port: null, reason: `/dev/infiniband/${hca.uverbs.name} does not exist` };
  }
  const whole = errors.find((one) => one.port === null);
  if (whole !== undefined) return { port: null, reason: `its ${exceededText(whole)}`, counter: whole.rule.counter };
  if (health.policy === "present" && errors.length === 0) return null;
  if (health.policy !== "present" && hca.ports.length > 0 && !hca.ports.some(carriesRdma)) {
    return { port: null, reason: noGidTable(hca) };
  }
  const policy = policyFor(hca, health);
  if (policy === "present" && errors.length === 0) return null;
  const absent = health.ports?.find((number) => !hca.ports.some((port) => port.number === number));
  if (policy !== "present" && absent !== undefined) return { port: absent, reason: `it has no port ${absent}` };
  const { ports: wanted } = health;
  const ports = wanted === null ? selectedPorts(spec, hca) : hca.ports.filter((port) => wanted.includes(port.number));
  if (ports.length === 0) return policy === "present" ? null : { port: null, reason: "it has no ports" };
  // A port with too many errors is as one that is down.
  const bad = ports.flatMap((port): readonly HcaReason[] => {
    if (policy !== "present" && !fit(port, policy)) return [{ port: port.number, reason: describe(port, hca) }];
    const many = errors.find((one) => one.port === port.number);
    if (many === undefined) return [];
    return [{
      port: port.number,
      reason: `port ${port.number}'s ${exceededText(many)}`,
      counter: many.rule.counter,
    }];
  });
  const enough = health.require === "all" ? bad.length === 0 : bad.length < ports.length;
  if (enough) return null;
  return {
    port: bad.length === 1 ? bad[0]!.port : null,
    reason: bad.map((one) => one.reason).join(", "),
    counter: bad.every((one) => one.counter !== undefined) ? bad[0]!.counter! : null,
  };
}

function fit(port: Port, policy: "port-active" | "link-up"): boolean {
  if (!carriesRdma(port)) return false;
  // While a pod has the net device, the state of an Ethernet port reflects what the pod does, not a failure.
  if (port.netdevAway && port.linkLayer === "Ethernet") return true;
  return policy === "link-up" ? port.physState === "LinkUp" : port.state === "ACTIVE";
}

function noGidTable(hca: Hca): string {
  return `no GID table: RoCE is off${hca.switchdev ? " (switchdev uplink)" : ""}`;
}

function describe(port: Port, hca: Hca): string {
  if (!carriesRdma(port)) return `port ${port.number} has ${noGidTable(hca)}`;
  if (port.state === "unknown") {
    return `port ${port.number}'s state cannot be read; the HCA is being removed or hangs`;
  }
  const physical = port.physState === null ? "" : ` (${port.physState})`;
  const hint = port.state === "INIT" && port.linkLayer === "InfiniBand" ? "; is a subnet manager running?" : "";
  return `port ${port.number} is ${port.state}${physical}${hint}`;
}
