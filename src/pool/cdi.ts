/**
 * CDI: one spec per resource, with a device per HCA, and the names that Allocate answers instead of nodes. Pure; the
 * files are written by {@link file://../kubelet/cdi_files.ts}.
 *
 * Format: Container Device Interface specification 0.6.0 (cncf-tags/container-device-interface, SPEC.md).
 *
 * @module
 */
import type { Hca } from "../hca/types.ts";
import type { PoolState } from "./states.ts";
import { allocateNodes, type Grant, type HostFacts, type MountGrant, type NodeGrant } from "./allocate.ts";
import { missingNode } from "./extra_nodes.ts";
import type { ResourceSpec } from "./spec.ts";

/** 0.6.0 is the first version with annotations, and what every runtime that reads `cdi_devices` understands. */
const CDI_VERSION = "0.6.0";

/** Annotation keys are the runtime's to read when they start like this; one per set of devices. */
const ANNOTATION_PREFIX = "cdi.k8s.io/";

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

/** A CDI spec file's content. */
export interface CdiSpec {
  readonly cdiVersion: string;
  readonly kind: string;
  readonly annotations: Readonly<Record<string, string>>;
  readonly devices: readonly CdiDevice[];
  readonly containerEdits: ContainerEdits;
}

/** A file's content as a spec, as far as it looks like one that was made here; null for anything else. */
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

/** "tencent.com/rdma.x" → "tencent.com/rdma_x": a class has letters, digits, `_` and `-` only. */
export function cdiKind(resource: string): string {
  const [domain = "", name = ""] = resource.split("/", 2);
  const cleaned = name.replace(/[^A-Za-z0-9_-]/g, "_");
  return `${domain}/${/^[A-Za-z]/.test(cleaned) ? cleaned : `r${cleaned}`}`;
}

/** What came before, and what of it has to stay because containers still name it. */
export interface CdiHeld {
  /** The file as it is on disk; null for none. */
  readonly before: CdiSpec | null;
  /** Whether a container may hold the device of this name. */
  readonly isHeld: (name: string) => boolean;
  /** Every HCA of the machine, selected or not. */
  readonly hcas: readonly Hca[];
}

const NOTHING_HELD: CdiHeld = { before: null, isHeld: () => false, hcas: [] };

/**
 * The spec of one resource: every HCA that has its uverbs node, and what every container gets at the top level, where
 * a runtime applies it once however many devices are asked for. What a container holds stays although the resource does
 * not have it any more: without the entry the container could not be started again.
 *
 * @param owner socket of the plugin that keeps the file; by it a later one recognises that the file is stale
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
  // Without an HCA there is nothing that rdma_cm would go with, but those that are held still need what they had.
  const shared = hcas.length === 0 && kept.length > 0 && held.before !== null
    ? held.before.containerEdits
    : edits(common, spec.expose.mounts);
  return {
    cdiVersion: CDI_VERSION,
    kind: cdiKind(spec.name),
    annotations: { "rdma-device-plugin/resource": spec.name, "rdma-device-plugin/socket": owner },
    devices: [...own, ...kept],
    containerEdits: shared,
  };
}

function cdiDevice(spec: ResourceSpec, host: HostFacts, hca: Hca): CdiDevice {
  return { name: cdiDeviceName(hca), containerEdits: edits(allocateNodes(spec, host, [hca]).perHca, []) };
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
 * Without devices whose nodes are another HCA's by now: uverbs numbers are given out again, and the container would be
 * started with an adapter that it was never given.
 */
export function withoutForeign(devices: readonly CdiDevice[], ownersOf: HostFacts["ownersOf"]): readonly CdiDevice[] {
  return devices.filter(({ name, containerEdits }) =>
    (containerEdits.deviceNodes ?? []).every(({ hostPath }) => {
      const owners = ownersOf(hostPath);
      return owners.length === 0 || owners.includes(name);
    })
  );
}

/** The names for a grant, and the annotation that says the same to runtimes which predate the `cdi_devices` field. */
export function cdiGrant(spec: ResourceSpec, grant: Grant) {
  const names = grant.hcas.map((hca) => `${cdiKind(spec.name)}=${cdiDeviceName(hca)}`);
  const key = `${ANNOTATION_PREFIX}${spec.name.replace(/[^A-Za-z0-9_.-]/g, "_")}`.slice(
    0,
    ANNOTATION_PREFIX.length + 63,
  );
  return { names, annotations: names.length === 0 ? {} : { [key]: names.join(",") } };
}

function cdiDeviceName(hca: Hca): string {
  return hca.name;
}

function edits(nodes: readonly NodeGrant[], mounts: readonly MountGrant[]): ContainerEdits {
  return {
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
