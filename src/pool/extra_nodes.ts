/**
 * Nodes that a container gets besides verbs nodes: the HCA's companions (/dev/hfi1_0, /dev/cxi0) and those of
 * `expose.devices`. Pure.
 *
 * @module
 */
import { isCompanion } from "../hca/class_nodes.ts";
import type { ClassNode, Hca } from "../hca/types.ts";
import type { ExtraDevice, ResourceSpec } from "./spec.ts";

/** A node for a container that uses one HCA. */
export interface ExtraNode extends ExtraDevice {
  /** The class device of the node; null for a fixed path, which sysfs does not list. */
  readonly node: ClassNode | null;
}

/** Placeholders in braces, and the class name in them. */
const PLACEHOLDER = /\{(hca|pci|class:([\w.-]+))\}/g;

/** Whether the path differs between HCAs. */
export function isTemplate(path: string): boolean {
  return path.search(PLACEHOLDER) >= 0;
}

/** The path without its placeholders; remaining braces are a mistake. */
export function withoutPlaceholders(path: string): string {
  return path.replace(PLACEHOLDER, "");
}

/** Facts about the host needed besides the HCA. */
export interface NodeFacts {
  /** Whether a path exists on the host; used for the nodes of `expose.devices`. */
  readonly has: (hostPath: string) => boolean;
  /** The HCAs that a node belongs to; empty when it belongs to none in particular. */
  readonly ownersOf: (hostPath: string) => readonly string[];
}

/**
 * Owners by node: from sysfs, and for other nodes by the HCA's name in /dev. Computed at the first question, because
 * most configurations never ask one and every scan comes by.
 */
export function nodeOwners(hcas: readonly Hca[]): NodeFacts["ownersOf"] {
  let owners: ReadonlyMap<string, readonly string[]> | null = null;
  return (path) => (owners ??= ownersByPath(hcas)).get(path) ?? [];
}

function ownersByPath(hcas: readonly Hca[]): ReadonlyMap<string, readonly string[]> {
  const owners = new Map<string, string[]>();
  for (const hca of hcas) {
    const verbs = [hca.uverbs?.name, ...hca.ports.flatMap((port) => [port.umad, port.issm])].filter((name) => name);
    const paths = [...hca.classNodes.map((node) => node.path), ...verbs.map((name) => `/dev/infiniband/${name}`)];
    for (const path of new Set(paths)) owners.set(path, [...owners.get(path) ?? [], hca.name]);
  }
  for (const { name } of hcas) if (!owners.has(`/dev/${name}`)) owners.set(`/dev/${name}`, [name]);
  return owners;
}

/**
 * The HCA's own extra nodes: companions, templates of `expose.devices` filled in, and those fixed paths that belong to
 * this HCA. A path that belongs to another HCA is only given with that one.
 */
export function nodesOf(spec: ResourceSpec, hca: Hca, { ownersOf }: NodeFacts): readonly ExtraNode[] {
  const companions = spec.expose.companions ? hca.classNodes.filter(isCompanion) : [];
  return [
    ...companions.map((node) => ({
      hostPath: node.path,
      containerPath: node.path,
      permissions: "rw",
      optional: false,
      node,
    })),
    ...spec.expose.devices.flatMap((device) =>
      isTemplate(device.hostPath)
        ? fill(device, hca)
        : ownersOf(device.hostPath).includes(hca.name)
        ? [{ ...device, node: hca.classNodes.find((node) => node.path === device.hostPath) ?? null }]
        : []
    ),
  ];
}

/** Devices of `expose.devices` that are the same for every HCA. */
export function sharedNodes(spec: ResourceSpec, { ownersOf }: NodeFacts): readonly ExtraDevice[] {
  return spec.expose.devices.filter(({ hostPath }) => !isTemplate(hostPath) && ownersOf(hostPath).length === 0);
}

/** Fills in a template: one node, or one per device of a class; none when the HCA has no such device. */
function fill(device: ExtraDevice, hca: Hca): readonly ExtraNode[] {
  const kind = [...device.hostPath.matchAll(PLACEHOLDER)].find((found) => found[2] !== undefined)?.[2];
  const candidates = kind === undefined ? [null] : hca.classNodes.filter((node) => node.class === kind);
  return candidates.map((node) => ({
    ...device,
    hostPath: expand(device.hostPath, hca, node),
    containerPath: expand(device.containerPath, hca, node),
    node: node !== null && expand(device.hostPath, hca, node) === node.path ? node : null,
  }));
}

function expand(path: string, hca: Hca, node: ClassNode | null): string {
  return path.replaceAll(PLACEHOLDER, (whole) => {
    if (whole === "{hca}") return hca.name;
    if (whole === "{pci}") return hca.pci?.address ?? "no-pci-address";
    return node?.name ?? "none";
  });
}

/**
 * The first node that a container on this HCA needs and this host does not have, as a sentence; null when none is
 * missing. A runtime refuses to start a container with a missing node.
 */
export function missingNode(spec: ResourceSpec, hca: Hca, facts: NodeFacts): string | null {
  const { has } = facts;
  for (const { hostPath, optional, node } of nodesOf(spec, hca, facts)) {
    if (optional || (node === null ? has(hostPath) : node.present)) continue;
    return node === null
      ? `${hostPath}, which expose.devices asks for, does not exist on this host`
      : `${hostPath} does not exist, though sysfs has its device (class ${node.class})`;
  }
  const shared = sharedNodes(spec, facts).find(({ hostPath, optional }) => !optional && !has(hostPath));
  if (shared !== undefined) return `${shared.hostPath}, which expose.devices asks for, does not exist on this host`;
  const unfilled = spec.expose.devices.find((one) =>
    !one.optional && isTemplate(one.hostPath) && fill(one, hca).length === 0
  );
  return unfilled === undefined
    ? null
    : `its PCI function has no device for ${unfilled.hostPath}, which expose.devices asks for`;
}
