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

/** A CDI spec file's content. */
export interface CdiSpec {
  readonly cdiVersion: string;
  readonly kind: string;
  readonly annotations: Readonly<Record<string, string>>;
  readonly devices: readonly { readonly name: string; readonly containerEdits: ContainerEdits }[];
  readonly containerEdits: ContainerEdits;
}

/** "tencent.com/rdma.x" → "tencent.com/rdma_x": a class has letters, digits, `_` and `-` only. */
export function cdiKind(resource: string): string {
  const [domain = "", name = ""] = resource.split("/", 2);
  const cleaned = name.replace(/[^A-Za-z0-9_-]/g, "_");
  return `${domain}/${/^[A-Za-z]/.test(cleaned) ? cleaned : `r${cleaned}`}`;
}

/**
 * The spec of one resource: every HCA that has its uverbs node, and what every container gets at the top level, where
 * a runtime applies it once however many devices are asked for.
 *
 * @param owner socket of the plugin that keeps the file; by it a later one recognises that the file is stale
 */
export function cdiSpec(poolState: PoolState, host: HostFacts, owner: string): CdiSpec {
  const { spec } = poolState;
  const members = [...poolState.deviceStates.values()].filter((one) => one.present && !one.member.inPodNetns);
  const hcas = [...new Set(members.flatMap((one) => one.member.hcas))].filter((hca) => hca.uverbs?.present);
  const { common } = allocateNodes(spec, host, hcas);
  return {
    cdiVersion: CDI_VERSION,
    kind: cdiKind(spec.name),
    annotations: { "rdma-device-plugin/resource": spec.name, "rdma-device-plugin/socket": owner },
    devices: hcas.map((hca) => ({
      name: cdiDeviceName(hca),
      containerEdits: edits(allocateNodes(spec, host, [hca]).perHca, []),
    })),
    containerEdits: edits(common, spec.expose.mounts),
  };
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
