/**
 * CDI: one spec per resource with a device per HCA, and the names that Allocate returns instead of nodes. Pure; {@link
 * file://../kubelet/cdi_files.ts} writes the files.
 *
 * Format: Container Device Interface specification 0.6.0 (cncf-tags/container-device-interface, SPEC.md).
 *
 * @module
 */
import type { Hca } from "../hca/types.ts";
import { shortName } from "../text/short_name.ts";
import type { PoolState } from "./states.ts";
import { allocateNodes, type Grant, type HostFacts, type MountGrant, type NodeGrant } from "./allocate.ts";
import { missingNode } from "./extra_nodes.ts";
import type { ResourceSpec } from "./spec.ts";

/** 0.6.0 is the first version with annotations; every runtime that reads `cdi_devices` supports it. */
export const CDI_VERSION = "0.6.0";

/** Runtimes read annotations with this key prefix; one per set of devices. */
const ANNOTATION_PREFIX = "cdi.k8s.io/";
/** Characters after the prefix, the last one a letter or digit. */
const LONGEST_KEY = 63;

interface ContainerEdits {
  readonly env?: readonly string[];
  readonly deviceNodes?: readonly { readonly path: string; readonly hostPath: string; readonly permissions: string }[];
  readonly mounts?: readonly {
    readonly hostPath: string;
    readonly containerPath: string;
    readonly options: readonly string[];
  }[];
}

/** One HCA in a spec. */
export interface CdiDevice {
  readonly name: string;
  readonly containerEdits: ContainerEdits;
}

/** Content of a CDI spec file. */
export interface CdiSpec {
  readonly cdiVersion: string;
  readonly kind: string;
  readonly annotations: Readonly<Record<string, string>>;
  readonly devices: readonly CdiDevice[];
  readonly containerEdits: ContainerEdits;
}

/** Parses the content of a file as a spec written by this plugin; null for anything else. */
export function asCdiSpec(content: unknown): CdiSpec | null {
  const { devices, containerEdits } = (content ?? {}) as Partial<CdiSpec>;
  const good = (edits: unknown) => {
    const nodes = (edits as ContainerEdits | null | undefined)?.deviceNodes ?? [];
    return typeof edits === "object" && edits !== null && Array.isArray(nodes) &&
      nodes.every((node: unknown) => typeof (node as { hostPath?: unknown } | null)?.hostPath === "string");
  };
  if (!Array.isArray(devices) || !good(containerEdits)) return null;
  const all = devices.every((one: unknown) => {
    const { name, containerEdits } = (one ?? {}) as Partial<CdiDevice>;
    return typeof name === "string" && good(containerEdits);
  });
  return all ? content as CdiSpec : null;
}

/**
 * "tencent.com/rdma.x" → "tencent.com/rdma_x": a class may only contain letters, digits, `_` and `-`, and both parts
 * begin with a letter.
 */
export function cdiKind(resource: string): string {
  const [domain = "", name = ""] = resource.split("/", 2);
  const [vendor, kind] = [domain, name.replace(/[^A-Za-z0-9_-]/g, "_")].map((part) =>
    /^[A-Za-z]/.test(part) ? part : `r${part}`
  );
  return `${vendor}/${kind}`;
}

/** The previous spec, and the entries of it to keep because containers still refer to them. */
export interface CdiHeld {
  /** The spec on disk; null when there is none. */
  readonly before: CdiSpec | null;
  /** Whether a container may use the device of this name. */
  readonly isHeld: (name: string) => boolean;
  /** All HCAs of the machine, selected or not. */
  readonly hcas: readonly Hca[];
}

const NOTHING_HELD: CdiHeld = { before: null, isHeld: () => false, hcas: [] };

/**
 * The spec of one resource: every HCA that has its uverbs node, and the shared nodes at the top level, which a runtime
 * applies once, however many devices are requested. Devices held by containers stay although the resource no longer has
 * them; without the entry the container could not be restarted.
 *
 * @param owner socket of the plugin that owns the file; a later plugin uses it to recognise a stale file
 */
export function cdiSpec(poolState: PoolState, host: HostFacts, owner: string, held: CdiHeld = NOTHING_HELD): CdiSpec {
  const { spec } = poolState;
  const members = [...poolState.deviceStates.values()].filter((one) => one.present && !one.member.inPodNetns);
  const hcas = [...new Set(members.flatMap((one) => one.member.hcas))].filter((hca) =>
    hca.uverbs?.present && missingNode(spec, hca, host) === null
  );
  const own = hcas.map((hca) => cdiDevice(spec, host, hca));
  const kept = keptDevices(spec, host, new Set(own.map(({ name }) => name)), held);
  const { common } = allocateNodes(spec, host, hcas);
  // Without an HCA rdma_cm is not needed, but devices that are still held keep the shared nodes that they had.
  const shared = hcas.length === 0 && kept.length > 0 && held.before !== null
    ? held.before.containerEdits
    : containerEdits({ nodes: common, mounts: spec.expose.mounts });
  return {
    cdiVersion: CDI_VERSION,
    kind: cdiKind(spec.name),
    annotations: { "rdma-device-plugin/resource": spec.name, "rdma-device-plugin/socket": owner },
    devices: [...own, ...kept],
    containerEdits: shared,
  };
}

function cdiDevice(spec: ResourceSpec, host: HostFacts, hca: Hca): CdiDevice {
  return {
    name: cdiDeviceName(hca),
    containerEdits: containerEdits({ nodes: allocateNodes(spec, host, [hca]).perHca }),
  };
}

function keptDevices(
  spec: ResourceSpec,
  host: HostFacts,
  own: ReadonlySet<string>,
  { before, isHeld, hcas }: CdiHeld,
): readonly CdiDevice[] {
  const kept = (before?.devices ?? []).filter(({ name }) => !own.has(name) && isHeld(name));
  return withoutForeign(
    kept.map((device) => {
      const hca = hcas.find((one) => cdiDeviceName(one) === device.name);
      return hca?.uverbs?.present ? cdiDevice(spec, host, hca) : device;
    }),
    host.ownersOf,
  );
}

/**
 * Removes devices whose nodes now belong to another HCA: uverbs numbers are reused, and the container would be started
 * with an adapter that it was not allocated.
 */
export function withoutForeign(devices: readonly CdiDevice[], ownersOf: HostFacts["ownersOf"]): readonly CdiDevice[] {
  return devices.filter(({ name, containerEdits }) =>
    (containerEdits.deviceNodes ?? []).every(({ hostPath }) => {
      const owners = ownersOf(hostPath);
      return owners.length === 0 || owners.includes(name);
    })
  );
}

/** The CDI names of a grant, and the equivalent annotation for runtimes older than the `cdi_devices` field. */
export function cdiGrant(spec: ResourceSpec, grant: Grant) {
  const names = grant.hcas.map((hca) => `${cdiKind(spec.name)}=${cdiDeviceName(hca)}`);
  const key = ANNOTATION_PREFIX + shortName(spec.name.replace(/[^A-Za-z0-9_.-]/g, "_"), LONGEST_KEY);
  return { names, annotations: names.length === 0 ? {} : { [key]: names.join(",") } };
}

function cdiDeviceName(hca: Hca): string {
  return hca.name;
}

/** What a runtime does to a container; the specification wants no empty list. */
export function containerEdits({ env = {}, nodes, mounts = [] }: {
  readonly env?: Readonly<Record<string, string>>;
  readonly nodes: readonly NodeGrant[];
  readonly mounts?: readonly MountGrant[];
}): ContainerEdits {
  const variables = Object.entries(env).map(([name, value]) => `${name}=${value}`);
  return {
    ...variables.length === 0 ? {} : { env: variables },
    ...nodes.length === 0 ? {} : {
      deviceNodes: nodes.map((one) => ({
        path: one.containerPath,
        hostPath: one.hostPath,
        permissions: one.permissions,
      })),
    },
    ...mounts.length === 0 ? {} : {
      mounts: mounts.map((one) => ({
        hostPath: one.hostPath,
        containerPath: one.containerPath,
        options: [one.readOnly ? "ro" : "rw", "rbind"],
      })),
    },
  };
}
