/**
 * Assigns HCAs to resources, with the reason for each HCA that is left out. Pure.
 *
 * The logs, `list`, `doctor` and the status page print the reasons that are returned here; nothing computes them a
 * second time.
 *
 * @module
 */
import type { Hca, Snapshot } from "../hca/types.ts";
import { softwareDrivers } from "../hca/drivers.ts";
import { carriesRdma, describeSelector, glob, match, namesOf } from "./match.ts";
import type { LeftOutCode } from "./reasons.ts";
import type { ResourceSpec, Selector } from "./spec.ts";

/** The base of one exclusive device, or of several shared ones. */
export interface Member {
  /** Stable across restarts: the HCA's name, or the address of its PCI function. */
  readonly id: string;
  /** Usually one; several when the resource uses PCI addresses as IDs and a function carries several RDMA devices. */
  readonly hcas: readonly Hca[];
  /**
   * True while the HCA is in a pod's network namespace (exclusive mode), where this machine's sysfs does not show it.
   */
  readonly inPodNetns: boolean;
  /** The ResourceClaim that has it through DRA ("claim ns/name"); otherwise absent. The device plugin respects it. */
  readonly claimedBy?: string;
}

/** Claims by the names of their HCAs. */
export type ClaimedHcas = ReadonlyMap<string, string>;

/** The HCAs of one resource. */
export interface Pool {
  readonly spec: ResourceSpec;
  readonly members: readonly Member[];
  /** The IDs that HCAs of this machine would have here, if the resource did not leave them out. */
  readonly leftOut: ReadonlySet<string>;
}

/** The reason why an HCA is not in a resource. */
export interface LeftOut {
  readonly hca: string;
  readonly resource: string;
  readonly code: LeftOutCode;
  /** A sentence without the HCA's name: "its link layer is Ethernet, not InfiniBand". */
  readonly reason: string;
}

/** Member IDs by resource. */
export type MemberIds = ReadonlyMap<string, ReadonlySet<string>>;

/** The result for one snapshot. */
export interface Selection {
  /** In the order of the specs. */
  readonly pools: readonly Pool[];
  readonly leftOut: readonly LeftOut[];
}

/**
 * Assigns every HCA to the resources that select it.
 *
 * An HCA that two resources select belongs to the first, unless both are shared and both allow overlap. Resources of
 * the device plugin API precede those of DRA: devices that pods hold must not be offered a second time.
 *
 * @param kept previous members: they stay as long as the only mismatch is an unknown value
 * @param claimed HCAs that belong to ResourceClaims
 */
export function select(
  specs: readonly ResourceSpec[],
  snapshot: Pick<Snapshot, "hcas" | "inPodNetns">,
  kept: MemberIds = new Map(),
  claimed: ClaimedHcas = new Map(),
): Selection {
  const all = [...snapshot.hcas, ...snapshot.inPodNetns];
  const inPodNetns = new Set(snapshot.inPodNetns);
  const owners = new Map<Hca, ResourceSpec[]>();
  const leftOut: LeftOut[] = [];
  const pools = new Map<ResourceSpec, Pool>();
  for (const spec of specs.toSorted((a, b) => Number(a.api === "dra") - Number(b.api === "dra"))) {
    const out = new Set<string>();
    const chosen = all.filter((hca) => {
      const id = memberId(spec, hca);
      const stays = kept.get(spec.name)?.has(id) ?? false;
      const found = representorReason(hca, all) ?? softwareReason(spec, hca, all) ?? whyNot(spec, hca, stays) ??
        conflict(spec, owners.get(hca) ?? []);
      if (found === null) return true;
      leftOut.push({ hca: hca.name, resource: spec.name, ...found });
      out.add(id);
      return false;
    });
    for (const hca of chosen) owners.set(hca, [...owners.get(hca) ?? [], spec]);
    pools.set(spec, {
      spec,
      members: members(spec, chosen, inPodNetns, spec.api === "dra" ? new Map() : claimed),
      leftOut: out,
    });
  }
  return { pools: specs.map((spec) => pools.get(spec)!), leftOut };
}

/** Whether the resource would select a member that was seen before, under the same ID, if its HCAs were here alone. */
export function stillMeans(spec: ResourceSpec, { id, hcas }: Member): boolean {
  return select([spec], { hcas, inPodNetns: [] }).pools[0]!.members.some((one) => one.id === id);
}

type LeftOutReason = Pick<LeftOut, "code" | "reason">;

function reason(code: LeftOutCode, reason: string): LeftOutReason {
  return { code, reason };
}

/**
 * Kernels before 5.3 create an RDMA device for each representor of a switchdev function. It carries no RDMA and would
 * make the function Unhealthy that also carries the adapter.
 */
function representorReason(hca: Hca, all: readonly Hca[]): LeftOutReason | null {
  if (hca.pci === null || hca.kind === "sf" || hca.ports.length === 0 || hca.ports.some(carriesRdma)) return null;
  const main = all.find((other) =>
    other !== hca && other.kind === hca.kind && other.pci?.address === hca.pci!.address && other.ports.some(carriesRdma)
  );
  if (main === undefined) return null;
  return reason("representor", `it has no GID table: it is a representor on the function of ${main.name}`);
}

/**
 * Soft-RoCE or soft-iWARP on a net device of an adapter is a second, slow way to the same link. Only a selector that
 * names it, its driver or its kind means it.
 */
function softwareReason(spec: ResourceSpec, hca: Hca, all: readonly Hca[]): LeftOutReason | null {
  if (hca.kind !== "virtual" || spec.select.some(meansSoftware)) return null;
  const below = all.find((other) =>
    other.kind !== "virtual" && hca.netdevs.some((name) => namesOf(other).includes(name))
  );
  if (below === undefined) return null;
  const where = `${hca.netdevs.join(", ")} of ${below.name}`;
  return reason("software", `it is software on ${where}; to select it anyway, name it or its kind, virtual`);
}

function meansSoftware({ hcas, kinds, drivers }: Selector): boolean {
  return hcas !== undefined || kinds?.includes("virtual") === true ||
    softwareDrivers().some((name) => drivers?.some((pattern) => glob(pattern, name)));
}

/** The reason why the resource does not select this HCA; null when it does. */
function whyNot(spec: ResourceSpec, hca: Hca, stays: boolean): LeftOutReason | null {
  if (hca.subdeviceOf !== null) {
    const parent = hca.subdeviceOf;
    return reason(
      "sub-device",
      `it is an SMI sub-device of ${parent}, which has the uverbs node of their PCI function`,
    );
  }
  // Conditions on ports exclude ports: the HCA is left out when no usable port remains.
  const able = hca.ports.filter(carriesRdma);
  const all = able.length > 0 ? able : hca.ports;
  const excluded = spec.exclude.map((selector) => ({ selector, found: match(selector, hca) }))
    .flatMap(({ selector, found }) => "ports" in found ? [{ selector, ports: found.ports }] : []);
  const left = all.filter((port) => !excluded.some(({ ports }) => ports.includes(port)));
  if (excluded.length > 0 && left.length === 0) {
    return reason(
      "excluded",
      `it is excluded: ${excluded.map(({ selector }) => describeSelector(selector)).join("; ")}`,
    );
  }
  if (spec.select.length === 0) return null;
  const found = spec.select.map((selector) => match(selector, hca));
  const wrong = found.flatMap((one) => "reason" in one ? [one] : []);
  if (wrong.length < found.length) {
    const meant = found.flatMap((one) => "ports" in one ? one.ports : []);
    if (excluded.length === 0 || all.length === 0 || meant.some((port) => left.includes(port))) return null;
    const by = excluded.map(({ selector }) => describeSelector(selector)).join("; ");
    return reason("excluded", `its selected ports are excluded: ${by}`);
  }
  if (stays && wrong.some((one) => one.unknown)) return null;
  const reasons = wrong.map((one) => one.reason).join("; ");
  return reason("not-selected", wrong.length === 1 ? reasons : `none of ${wrong.length} selectors matches: ${reasons}`);
}

function conflict(spec: ResourceSpec, owners: readonly ResourceSpec[]): LeftOutReason | null {
  const other = owners.find((owner) => owner.api !== spec.api);
  if (other !== undefined) {
    const api = "through the device plugin API; an HCA is offered through one API only";
    return reason("other-api", `${other.name} has it already, ${api}`);
  }
  const first = owners.find((owner) =>
    owner.mode.kind === "exclusive" || spec.mode.kind === "exclusive" || !owner.overlap || !spec.overlap
  );
  if (first === undefined) return null;
  const rule = first.mode.kind === "shared" && spec.mode.kind === "shared"
    ? "two shared resources may have the same HCA only when both set overlap: true"
    : "when several resources select the same HCA, the first one gets it";
  return reason("other-resource", `it belongs to ${first.name}; ${rule}`);
}

/** A sub-function has no PCI address of its own; the name of its auxiliary device stands for it. */
function memberId(spec: ResourceSpec, hca: Hca): string {
  if (spec.ids !== "pci") return hca.name;
  return (hca.kind === "sf" ? hca.sfDevice : hca.pci?.address) ?? hca.name;
}

function members(
  spec: ResourceSpec,
  hcas: readonly Hca[],
  inPodNetns: ReadonlySet<Hca>,
  claimed: ClaimedHcas,
): readonly Member[] {
  const byId = new Map<string, Hca[]>();
  for (const hca of hcas) {
    const id = memberId(spec, hca);
    byId.set(id, [...byId.get(id) ?? [], hca]);
  }
  return [...byId].map(([id, group]) => {
    const claimedBy = group.map((hca) => claimed.get(hca.name)).find((one) => one !== undefined);
    const inPod = group.some((hca) => inPodNetns.has(hca));
    return { id, hcas: group, inPodNetns: inPod, ...claimedBy === undefined ? {} : { claimedBy } };
  });
}
