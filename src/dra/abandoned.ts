/**
 * Finds prepared claims that do not exist any more, as when the kubelet's state was lost: it will never unprepare them.
 *
 * @module
 */
import type { ClaimedDevice } from "../kubelet/pod_resources.ts";
import type { ApiResult } from "../kubernetes/client.ts";
import type { ResourceClaim } from "../kubernetes/resource_api.ts";
import { type ClaimFiles, uidOfFile } from "./claim_files.ts";
import { type ClaimRecord, type ClaimRef, nameOf } from "./claim_record.ts";

/**
 * How long a claim must be unused before its record and CDI file are removed, in milliseconds. The containers of a pod that
 * was force-deleted may still run although neither the API server nor PodResources list it. The kubelet unprepares its
 * claims within a minute (reconcilePeriod in pkg/kubelet/cm/dra/manager.go).
 */
const ABANDONED_MS = 180_000;

export interface AbandonedOptions {
  readonly driver: string;
  readonly files: ClaimFiles;
  readonly getClaim: (ref: Pick<ClaimRef, "namespace" | "name">) => Promise<ApiResult<ResourceClaim>>;
  /** Milliseconds of a monotonic clock. */
  readonly now?: () => number;
}

/** Remembers since when claims are unused. */
export class Abandoned {
  readonly #options: AbandonedOptions;
  /** Start of the time in which no pod used the claim, by claim UID. */
  #unused: ReadonlyMap<string, number> = new Map();

  constructor(options: AbandonedOptions) {
    this.#options = options;
  }

  /**
   * Claims that no pod has used for {@link ABANDONED_MS} and that the API server does not have, and the UIDs of CDI files
   * without a record that no pod has used for as long. A claim that the API server cannot be asked about is none of them.
   *
   * @param claimed the devices of all claims that pods use
   */
  async find(
    claimed: readonly ClaimedDevice[],
  ): Promise<{ readonly claims: readonly ClaimRecord[]; readonly withoutRecord: readonly string[] }> {
    const { driver, files, getClaim, now = () => performance.now() } = this.#options;
    const ours = claimed.filter((one) => one.driver === driver);
    // CDI files are listed before records are read, because a record is written before its CDI file.
    const uids = files.cdiUids();
    const { records, unreadable } = files.read();
    const withRecord = new Set([...records.map((one) => one.uid), ...unreadable.map(uidOfFile)]);
    const before = this.#unused;
    const unused = new Map<string, number>();
    this.#unused = unused;
    const isOld = (uid: string): boolean => {
      const since = before.get(uid) ?? now();
      unused.set(uid, since);
      return now() - since >= ABANDONED_MS;
    };
    // A CDI file without a record: the driver's directory was deleted.
    const withoutRecord = uids.filter((uid) => !withRecord.has(uid)).filter((uid) => {
      const devices = files.cdiDevices(uid) ?? [];
      return !ours.some((one) => devices.includes(one.device)) && isOld(uid);
    });
    const claims: ClaimRecord[] = [];
    for (const record of records.filter((one) => !ours.some((used) => isUse(used, one)) && isOld(one.uid))) {
      const claim = await getClaim(record);
      if (claim.ok ? claim.value.metadata.uid !== record.uid : claim.error.status === 404) claims.push(record);
    }
    return { claims, withoutRecord };
  }
}

/** The device, too: another claim may have the name now. */
function isUse({ claimNamespace, claim, device }: ClaimedDevice, record: ClaimRecord): boolean {
  return nameOf({ namespace: claimNamespace, name: claim }) === nameOf(record) &&
    record.devices.some((one) => one.device === device);
}
