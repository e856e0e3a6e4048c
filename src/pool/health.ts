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
import type { UnhealthyCode } from "./reasons.ts";
import type { Member } from "./select.ts";
import type { HealthPolicy, ResourceSpec } from "./spec.ts";

/** The reason why a device is not healthy. */
export interface UnhealthyReason {
  readonly code: UnhealthyCode;
  readonly hca: string;
  /** null when it concerns the whole HCA. */
  readonly port: number | null;
  /** Without the HCA's name: "port 1 is DOWN (Polling)". */
  readonly reason: string;
  /** With `counter-errors`: the counter. */
  readonly counter?: string;
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
    return { code: "claimed", hca, port: null, reason: `${member.claimedBy} has it through DRA` };
  }
  if (member.inPodNetns) return null; // its ports are only visible in the pod's network namespace
  for (const hca of member.hcas) {
    const errors = (exceeded.get(hca.name) ?? []).filter(({ rule }) =>
      spec.health.errors.some((one) => ruleKey(one) === ruleKey(rule))
    );
    const found = hcaUnhealthyReason(hca, spec, errors);
    if (found !== null) return { hca: hca.name, ...found };
  }
  return null;
}

/**
 * The requirements for an HCA to be Healthy. By default a VF or sub-function only has to be present: its link is down
 * until a CNI plugin sets it up inside the pod, so one that waited for its link would never be allocated.
 */
export function policyFor(hca: Hca, { policy }: HealthPolicy): Exclude<HealthPolicy["policy"], "auto"> {
  return policy === "auto" ? isRaisedInPod(hca) ? "present" : "port-active" : policy;
}

/** Whether the HCA's link is set up inside the pod that gets it. */
export function isRaisedInPod({ kind }: Pick<Hca, "kind">): boolean {
  return kind === "vf" || kind === "sf";
}

type HcaReason = Omit<UnhealthyReason, "hca">;

function hcaUnhealthyReason(hca: Hca, spec: ResourceSpec, errors: readonly WatchedCounter[]): HcaReason | null {
  const { health } = spec;
  if (hca.uverbs === null) {
    const reason = "it has no uverbs node: it is being removed, or ib_uverbs is not loaded";
    return { code: "no-uverbs", port: null, reason };
  }
  if (!hca.uverbs.present) {
    const { name, stale } = hca.uverbs;
    if (stale === undefined) {
      return { code: "uverbs-node-missing", port: null, reason: `/dev/infiniband/${name} does not exist` };
    }
    const reason = `/dev/infiniband/${name} is ${stale}, and not the HCA's ${hca.uverbs.dev}`;
    return { code: "uverbs-node-stale", port: null, reason };
  }
  const whole = errors.find((one) => one.port === null);
  if (whole !== undefined) return { ...tooMany(whole), reason: `its ${exceededText(whole)}` };
  if (health.policy === "present") return portsReason(hca, spec, "present", errors);
  if (hca.ports.length > 0 && !hca.ports.some(carriesRdma)) {
    return { code: "no-gid-table", port: null, reason: noGidTable(hca) };
  }
  return portsReason(hca, spec, policyFor(hca, health), errors);
}

/** A port with too many errors is as one that is not as the policy wants it. */
function portsReason(
  hca: Hca,
  spec: ResourceSpec,
  policy: ReturnType<typeof policyFor>,
  errors: readonly WatchedCounter[],
): HcaReason | null {
  if (policy === "present" && errors.length === 0) return null;
  const { ports: wanted, require } = spec.health;
  const absent = wanted?.find((number) => !hca.ports.some((port) => port.number === number));
  if (policy !== "present" && absent !== undefined) {
    return { code: "no-such-port", port: absent, reason: `it has no port ${absent}` };
  }
  const ports = wanted === null ? selectedPorts(spec, hca) : hca.ports.filter((port) => wanted.includes(port.number));
  if (ports.length === 0) {
    return policy === "present" ? null : { code: "no-ports", port: null, reason: "it has no ports" };
  }
  const bad = ports.flatMap((port): readonly HcaReason[] => {
    const { number } = port;
    if (policy !== "present" && !fit(port, policy)) {
      return [{ code: codeOf(port), port: number, reason: describe(port, hca) }];
    }
    const many = errors.find((one) => one.port === number);
    return many === undefined ? [] : [{ ...tooMany(many), reason: `port ${number}'s ${exceededText(many)}` }];
  });
  const enough = require === "all" ? bad.length === 0 : bad.length < ports.length;
  if (enough) return null;
  return {
    ...bad[0]!,
    port: bad.length === 1 ? bad[0]!.port : null,
    reason: bad.map((one) => one.reason).join(", "),
  };
}

function tooMany({ rule, port }: WatchedCounter): Omit<HcaReason, "reason"> {
  return { code: "counter-errors", port, counter: rule.counter };
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

function codeOf(port: Port): UnhealthyCode {
  if (!carriesRdma(port)) return "no-gid-table";
  if (port.state === "unknown") return "port-unreadable";
  return port.state === "DOWN" || (port.physState ?? "LinkUp") !== "LinkUp" ? "port-down" : "port-not-active";
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
