/**
 * What the doctor knows of events, the node condition and labels: where they go, and whether they may. Changes nothing.
 *
 * @module
 */
import type { ApiAccess } from "../kubernetes/access.ts";
import { ApiClient } from "../kubernetes/client.ts";
import { missingRights, type Right } from "../kubernetes/rights.ts";
import { nodePath } from "../kubernetes/resource_api.ts";
import { type DirectoryState, openRights } from "./rights.ts";

/** What the flags ask for. */
export interface WantedReports {
  readonly node: string;
  readonly events: boolean;
  readonly labels: boolean;
  readonly featureDir: string | null;
  readonly access: () => ApiAccess | null;
}

export interface ReportFacts {
  readonly node: string;
  /** Whether something is to be written through the API. */
  readonly api: boolean;
  /** Null when no API server is known. */
  readonly server: string | null;
  /** Why the API server cannot be asked; null when it answered. */
  readonly reason: string | null;
  /** "create events": a right that the service account lacks. */
  readonly missing: readonly string[];
  /** False when there is no such Node; null when that is not known. */
  readonly nodeThere: boolean | null;
  /** node-feature-discovery's directory; null when none is asked for. */
  readonly features: { readonly dir: string; readonly state: DirectoryState } | null;
}

const EVENT_RIGHTS: readonly Right[] = [
  { verb: "create", resource: "events", group: "events.k8s.io" },
  { verb: "patch", resource: "events", group: "events.k8s.io" },
  { verb: "patch", resource: "nodes/status", group: "" },
];
const LABEL_RIGHTS: readonly Right[] = [{ verb: "patch", resource: "nodes", group: "" }];
const READ: Right = { verb: "get", resource: "nodes", group: "" };
const TIMEOUT_MS = 5_000;

export async function readReports(wanted: WantedReports): Promise<ReportFacts> {
  const { node, events, labels, featureDir } = wanted;
  using rights = openRights();
  const local = {
    node,
    api: events || labels,
    features: featureDir === null ? null : { dir: featureDir, state: rights.stateOf(featureDir) },
  };
  const access = local.api ? wanted.access() : null;
  if (access === null) return { ...local, server: null, reason: null, missing: [], nodeThere: null };
  const client = new ApiClient(access);
  try {
    const needed = [READ, ...events ? EVENT_RIGHTS : [], ...labels ? LABEL_RIGHTS : []];
    const found = await missingRights(client, needed, TIMEOUT_MS);
    const object = await client.call("GET", nodePath(node), { timeoutMs: TIMEOUT_MS });
    const nodeThere = object.ok ? true : object.error.status === 404 ? false : null;
    return { ...local, server: access.server, ...found, nodeThere };
  } finally {
    client.close();
  }
}
