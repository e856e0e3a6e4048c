/**
 * Decides what a container gets for its device IDs. Pure. The answer comes with checks that the caller makes against
 * the machine before it sends the answer, because uverbs numbers are reused.
 *
 * @module
 */
import type { Hca } from "../hca/types.ts";
import { natural } from "../text/natural.ts";
import { printable } from "../text/printable.ts";
import { devices, membersOf } from "./devices.ts";
import { environment } from "./env.ts";
import { missingNode, type NodeFacts, nodesOf, sharedNodes } from "./extra_nodes.ts";
import type { DeviceState, PoolState } from "./states.ts";
import type { ExtraDevice, ResourceSpec } from "./spec.ts";

/** A device node or other file of the host to add to the container. */
export interface NodeGrant {
  readonly hostPath: string;
  readonly containerPath: string;
  readonly permissions: string;
}

export interface MountGrant {
  readonly hostPath: string;
  readonly containerPath: string;
  readonly readOnly: boolean;
}

/** Everything that one container gets. */
export interface Grant {
  readonly hcas: readonly Hca[];
  readonly nodes: readonly NodeGrant[];
  readonly mounts: readonly MountGrant[];
  readonly env: Readonly<Record<string, string>>;
}

/** A sysfs file, relative to the root, and the content that it must have for the grant to be valid. */
export interface SysfsCheck {
  readonly path: string;
  readonly expected: string;
  /** The HCA that the file belongs to in this grant. */
  readonly hca: string;
}

/** A path on the host, and whether it must exist for the grant to be valid. */
export interface PathCheck {
  readonly hostPath: string;
  readonly exists: boolean;
}

/** A check that the caller makes against the machine before it sends the answer. */
export type Check = SysfsCheck | PathCheck;

/** Facts about the host that do not belong to one HCA. */
export interface HostFacts extends NodeFacts {
  readonly rdmaCm: boolean;
  readonly knem: boolean;
}

/** The answer for one container, or the reason why there is none. */
export type Outcome =
  | { readonly ok: true; readonly grant: Grant; readonly evidence: readonly Check[] }
  | { readonly ok: false; readonly reason: "unknown" | "unhealthy"; readonly message: string };

/** The directory of the nodes in the container and on the host, wherever the plugin itself sees /dev. */
const DEV = "/dev/infiniband";

/** Decides one container request. Requests of other containers have no influence. */
export function allocate(poolState: PoolState, host: HostFacts, ids: readonly string[]): Outcome {
  const resource = poolState.spec.name;
  const deviceStates = new Set<DeviceState>();
  for (const id of ids) {
    const found = membersOf(poolState, id);
    if (found === null) {
      return { ok: false, reason: "unknown", message: `${resource} has no device ${quote(id)}; ${known(poolState)}` };
    }
    const inPodNetns = found.find((deviceState) => deviceState.member.inPodNetns);
    if (found.length === 1 && inPodNetns !== undefined) {
      const message = `${resource} device ${quote(id)} is in the network namespace of a pod that still uses it`;
      return { ok: false, reason: "unhealthy", message };
    }
    if (!found.some((deviceState) => deviceState.healthy)) {
      const reasons = [...new Set(found.map((deviceState) => deviceState.reason))].join("; ") || "no HCA is left";
      return { ok: false, reason: "unhealthy", message: `${resource} device ${quote(id)} is Unhealthy: ${reasons}` };
    }
    for (const deviceState of found) deviceStates.add(deviceState);
  }
  // A device on several HCAs gives the container each HCA that is present, even if its link is down: the container can
  // use it once the link is up. An HCA that is gone or has no node would keep the container from starting.
  const free = ({ present, member }: DeviceState) => present && !member.inPodNetns && member.claimedBy === undefined;
  const there = [...deviceStates].filter(free)
    .flatMap((deviceState) => deviceState.member.hcas).filter((hca) => hca.uverbs?.present);
  const lacking = new Map(there.map((hca) => [hca, missingNode(poolState.spec, hca, host)]));
  const usable = (hca: Hca) => lacking.get(hca) === null;
  for (const id of ids) {
    const behind = membersOf(poolState, id)!.flatMap((one) => one.member.hcas);
    if (behind.some(usable)) continue;
    const reason = behind.map((hca) => lacking.get(hca)).find((one) => one) ?? "no HCA is left";
    return { ok: false, reason: "unhealthy", message: `${resource} device ${quote(id)} cannot be used: ${reason}` };
  }
  const hcas = there.filter(usable).sort((a, b) => natural(a.name, b.name));
  return { ok: true, ...grant(poolState, host, ids, [...new Set(hcas)]) };
}

function grant(poolState: PoolState, host: HostFacts, ids: readonly string[], hcas: readonly Hca[]) {
  const { perHca, common, evidence } = allocateNodes(poolState.spec, host, hcas);
  const nodes = unique([...perHca, ...common]);
  const env = environment(poolState.spec, ids, hcas, nodes);
  return { grant: { hcas, nodes, mounts: poolState.spec.expose.mounts, env }, evidence };
}

/** The nodes of these HCAs, the nodes shared by all of them, and the checks under which they are valid. */
export function allocateNodes(
  spec: ResourceSpec,
  host: HostFacts,
  hcas: readonly Hca[],
): { perHca: readonly NodeGrant[]; common: readonly NodeGrant[]; evidence: readonly Check[] } {
  const { expose } = spec;
  const evidence: Check[] = [];
  const perHca: NodeGrant[] = [];
  const add = (name: string, group: string, hca: Hca) => {
    perHca.push(node(`${DEV}/${name}`));
    evidence.push({ path: `class/${group}/${name}/ibdev`, expected: hca.name, hca: hca.name });
  };
  /** Extra nodes appear and disappear without an event; the check makes an answer invalid if one did. */
  const addExtra = (to: NodeGrant[], { optional, ...extra }: ExtraDevice) => {
    const exists = host.has(extra.hostPath);
    evidence.push({ hostPath: extra.hostPath, exists: exists || !optional });
    if (exists || !optional) to.push(extra);
  };
  for (const hca of hcas) {
    if (hca.uverbs !== null) add(hca.uverbs.name, "infiniband_verbs", hca);
    for (const port of hca.ports) {
      if (expose.umad && port.umad !== null) add(port.umad, "infiniband_mad", hca);
      if (expose.issm && port.issm !== null) add(port.issm, "infiniband_mad", hca);
    }
    for (const { node, ...extra } of nodesOf(spec, hca, host)) {
      // Device numbers are reused, as those of uverbs are; the entry below the PCI function says which device has them
      // now.
      if (node !== null && node.dev !== null) {
        evidence.push({ path: `${node.entry}/dev`, expected: node.dev, hca: hca.name });
      }
      addExtra(perHca, extra);
    }
  }
  const common: NodeGrant[] = [];
  if (expose.rdmaCm && host.rdmaCm && hcas.length > 0) common.push(node(`${DEV}/rdma_cm`));
  if (expose.knem && host.knem && hcas.length > 0) common.push(node("/dev/knem"));
  for (const extra of sharedNodes(spec, host)) addExtra(common, extra);
  return { perHca, common, evidence };
}

function node(path: string): NodeGrant {
  return { hostPath: path, containerPath: path, permissions: "rw" };
}

/** Keeps the first of several grants with the same container path; runtimes reject duplicate paths. */
function unique(nodes: readonly NodeGrant[]): readonly NodeGrant[] {
  return [...new Map([...nodes].reverse().map((one) => [one.containerPath, one])).values()].reverse();
}

function known(poolState: PoolState): string {
  const ids = devices(poolState).map(({ id }) => id);
  if (ids.length === 0) return "it has no devices now";
  return `it has ${ids.slice(0, 8).join(", ")}${ids.length > 8 ? ` and ${ids.length - 8} more` : ""}`;
}

/** Quotes an ID from the wire for a message, and truncates it. */
function quote(id: string): string {
  return printable(JSON.stringify(id.length > 80 ? `${id.slice(0, 80)}…` : id));
}
