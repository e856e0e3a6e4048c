/**
 * Settings of the DRA driver from the command line, and the creation of a driver from them.
 *
 * @module
 */
import type { Snapshot } from "../hca/types.ts";
import type { Log } from "../text/log.ts";
import { PodLister } from "../kubelet/pod_resources.ts";
import type { ApiAccess } from "../kubernetes/access.ts";
import { ApiClient } from "../kubernetes/client.ts";
import { claimsDir, readClaims } from "./claim_files.ts";
import { type ClaimRecord, findHca, nameOf } from "./claim_record.ts";
import { DraDoor, type DraTiming, type OnAnswer } from "./door.ts";

export interface DraSettings {
  readonly driver: string;
  readonly node: string;
  readonly pluginsDir: string;
  readonly registryDir: string;
  readonly cdiDir: string;
  readonly podUid: string;
  readonly podResourcesSocket: string;
  readonly sysfsRoot: string;
  /** Called only with DRA, since it reads the environment. Null when no API server is known. */
  readonly access: () => ApiAccess | null;
  /** For tests. */
  readonly timing?: Partial<DraTiming>;
}

/** Callbacks of the driver into the agent. */
export interface DraHooks {
  readonly log: Log;
  readonly rescan: (detail: string) => Promise<void>;
  readonly onStatus: () => void;
  readonly onClaims: () => void;
  readonly onAnswer: OnAnswer;
}

/** Deadline of a request to PodResources, in milliseconds. */
const POD_RESOURCES_TIMEOUT_MS = 2_000;
/** Prepares come in bursts, when the pods of a job start: the connection to PodResources is kept for the next one. */
const KEPT_MS = 5_000;

/**
 * Creates a driver without starting it.
 * @throws when no API server is known
 */
export function openDoor(settings: DraSettings, hooks: DraHooks): DraDoor {
  const { access: find, podResourcesSocket, ...rest } = settings;
  const access = find();
  if (access === null) {
    throw new Error(
      "no API server is known: KUBERNETES_SERVICE_HOST is not set; give --kube-api",
    );
  }
  return new DraDoor({
    ...rest,
    ...hooks,
    pool: settings.node,
    client: new ApiClient(access),
    pods: new PodLister(podResourcesSocket, POD_RESOURCES_TIMEOUT_MS, KEPT_MS),
  });
}

/** The claims that are prepared on this node. */
export function preparedClaims(
  { pluginsDir, driver }: Pick<DraSettings, "pluginsDir" | "driver">,
): readonly ClaimRecord[] {
  return readClaims(claimsDir(pluginsDir, driver)).records;
}

/**
 * "claim ns/name" by the name of the HCA that it holds, the first of several; claims with admin access do not count.
 */
export function claimedHcas(
  claims: readonly ClaimRecord[],
  snapshot: Pick<Snapshot, "hcas" | "inPodNetns">,
): ReadonlyMap<string, string> {
  return new Map([...claimsByHca(claims, snapshot)].map(([hca, all]) => [hca, `claim ${all[0]}`]));
}

/** "ns/name" of every claim, by the name of the HCA that it holds. */
export function claimsByHca(
  claims: readonly ClaimRecord[],
  { hcas, inPodNetns }: Pick<Snapshot, "hcas" | "inPodNetns">,
): ReadonlyMap<string, readonly string[]> {
  const found = new Map<string, string[]>();
  for (const record of claims) {
    for (const key of record.devices.filter((one) => !one.admin).flatMap((one) => one.hcas)) {
      const hca = findHca([...hcas, ...inPodNetns], key);
      if (hca !== null) found.set(hca.name, [...found.get(hca.name) ?? [], nameOf(record)]);
    }
  }
  return found;
}
