/**
 * Facts about DRA for the doctor: the API server, the service account's permissions, feature gates, slices, classes,
 * and prepared claims. Changes nothing; writes are dry runs.
 *
 * @module
 */
import { join } from "node:path";
import type { Inventory } from "../agent/inventory.ts";
import { ClaimFiles } from "../dra/claim_files.ts";
import { nameOf } from "../dra/claim_record.ts";
import { draDevices } from "../dra/devices.ts";
import type { DraSettings } from "../dra/open.ts";
import { GATES } from "../dra/gates.ts";
import { exists } from "../hca/files.ts";
import { droppedFields, probeSlice } from "../dra/slices.ts";
import { ApiClient } from "../kubernetes/client.ts";
import { missingRights, type Right } from "../kubernetes/rights.ts";
import {
  CLASSES_PATH,
  type DeviceClass,
  type KubernetesNode,
  nodePath,
  type ObjectList,
  type ResourceSlice,
  SLICES_PATH,
} from "../kubernetes/resource_api.ts";

export interface DraFacts {
  readonly driver: string;
  readonly node: string;
  /** Whether a resource has `api: dra`; otherwise only claims that are still prepared matter. */
  readonly wanted: boolean;
  readonly registryDir: string;
  readonly registryThere: boolean;
  /** Null when no API server is known. */
  readonly server: string | null;
  /** Why the API server did not answer; null when it did. */
  readonly reason: string | null;
  /** Whether the API server is too old for DRA. */
  readonly tooOld: boolean;
  /** Permissions that the service account lacks: "create resourceslices". */
  readonly missing: readonly string[];
  /** Feature gates that are off, so that the API server drops fields the driver needs. */
  readonly gatesOff: readonly string[];
  /** Devices in the slices of this node; null when unknown. */
  readonly published: number | null;
  /** Number of devices expected there. */
  readonly expected: number;
  /** Null when the service account may not list them. */
  readonly classes: readonly { readonly name: string; readonly extendedResourceName: string | null }[] | null;
  /** Resources of device plugins with more than 0 allocatable. */
  readonly allocatable: readonly string[];
  readonly claims: readonly string[];
  /** Claims whose CDI file is missing: their containers cannot restart. */
  readonly withoutCdi: readonly string[];
  readonly unreadable: readonly string[];
}

/** The driver's requests to the API server. */
const NEEDED: readonly Right[] = [
  ...["get", "list", "watch", "create", "update", "delete"].map((verb) => (
    { verb, resource: "resourceslices", group: "resource.k8s.io" }
  )),
  { verb: "get", resource: "resourceclaims", group: "resource.k8s.io" },
  { verb: "get", resource: "nodes", group: "" },
];

const TIMEOUT_MS = 5_000;

export async function readDra(settings: DraSettings, { states, specs }: Inventory): Promise<DraFacts> {
  const { driver, node, registryDir, pluginsDir, cdiDir } = settings;
  const access = known(settings.access);
  const files = new ClaimFiles(join(pluginsDir, driver), cdiDir, driver);
  const { records, unreadable } = files.read();
  const local = {
    driver,
    node,
    wanted: specs.some((spec) => spec.api === "dra"),
    registryDir,
    registryThere: exists(registryDir),
    server: access?.server ?? null,
    expected: draDevices(states, new Map()).devices.length,
    claims: records.map(nameOf),
    withoutCdi: records.filter((one) => !exists(files.cdiPath(one.uid))).map(nameOf),
    unreadable,
  };
  const nothing = { tooOld: false, missing: [], gatesOff: [], published: null, classes: null, allocatable: [] };
  if (access === null || !local.wanted) return { ...local, ...nothing, reason: null };
  const client = new ApiClient(access);
  try {
    return { ...local, ...nothing, reason: null, ...await ask(client, driver, node) };
  } finally {
    client.close();
  }
}

/** Null as well if Deno's permissions do not allow reading the environment. */
function known(access: DraSettings["access"]): ReturnType<DraSettings["access"]> {
  try {
    return access();
  } catch {
    return null;
  }
}

async function ask(client: ApiClient, driver: string, node: string): Promise<Partial<DraFacts>> {
  const timeoutMs = TIMEOUT_MS;
  const { reason, missing } = await missingRights(client, NEEDED, timeoutMs);
  if (reason !== null) return { reason };
  const query = { fieldSelector: `spec.driver=${driver},spec.nodeName=${node}` };
  const owner = { apiVersion: "v1", kind: "Node", name: node, uid: "dry-run" };
  const probe = probeSlice({ driver, node, pool: node, owner });
  const [slices, classes, object, made] = await Promise.all([
    client.call<ObjectList<ResourceSlice>>("GET", SLICES_PATH, { query, timeoutMs }),
    client.call<ObjectList<DeviceClass>>("GET", CLASSES_PATH, { timeoutMs }),
    client.call<KubernetesNode>("GET", nodePath(node), { timeoutMs }),
    client.call<ResourceSlice>("POST", SLICES_PATH, { query: { dryRun: "All" }, body: probe, timeoutMs }),
  ]);
  return {
    tooOld: !slices.ok && slices.error.status === 404,
    missing,
    gatesOff: made.ok ? [...droppedFields(probe.spec, made.value.spec)].map((one) => GATES[one]) : [],
    published: slices.ok ? slices.value.items.flatMap((one) => one.spec.devices ?? []).length : null,
    classes: classes.ok
      ? classes.value.items.map(({ metadata, spec }) => (
        { name: metadata.name ?? "", extendedResourceName: spec.extendedResourceName ?? null }
      ))
      : null,
    allocatable: object.ok
      ? Object.entries(object.value.status?.allocatable ?? {}).filter(([, value]) => value !== "0").map(([name]) =>
        name
      )
      : [],
  };
}
