/**
 * Preparing and unpreparing claims: what the pure decisions of this folder need from the API server, the kubelet and the
 * disk, in an order in which the process may be killed between any two steps.
 *
 *     GET claim ─► decide ─► record "pending" ─► does anybody else have a device? ─► CDI file ─► record "prepared" ─► answer
 *
 * @module
 */
import { readLine } from "../hca/files.ts";
import type { Hca } from "../hca/types.ts";
import type { ClaimedDevice } from "../kubelet/pod_resources.ts";
import type { ApiError, ApiResult } from "../kubernetes/client.ts";
import type { ResourceClaim } from "../kubernetes/resource_api.ts";
import type { Check, HostFacts } from "../pool/allocate.ts";
import type { Log } from "../text/log.ts";
import { renderClaim } from "./claim_cdi.ts";
import { type ClaimFiles, isUid, uidOfFile } from "./claim_files.ts";
import { type ClaimRecord, type ClaimRef, nameOf } from "./claim_record.ts";
import { claimKind } from "./claim_cdi.ts";
import type { DraDevice } from "./devices.ts";
import { claimMismatch, conflict, decide, hiddenConflict } from "./prepare.ts";
import type { ParsedConfig } from "./rdma_config.ts";

/** What the kubelet gets for a device of a claim. */
export interface PreparedDevice {
  readonly requests: readonly string[];
  readonly pool: string;
  readonly device: string;
  readonly shareID: string | null;
  readonly cdiIds: readonly string[];
}

export type PrepareAnswer =
  | { readonly ok: true; readonly devices: readonly PreparedDevice[] }
  /** `passing`: may be over in a moment. */
  | { readonly ok: false; readonly reason: string; readonly passing?: true };

/** The kubelet's call that a claim is prepared in. */
export interface PrepareCall {
  /** Aborts when the kubelet does not wait for the answer any more. */
  readonly signal: AbortSignal;
  /** When it began, in milliseconds of `performance.now()`. */
  readonly begun: number;
}

/** The machine as the last scan saw it. */
export interface Machine {
  readonly devices: ReadonlyMap<string, DraDevice>;
  readonly hcas: readonly Hca[];
  readonly host: HostFacts;
}

export interface ClaimsOptions {
  readonly driver: string;
  readonly pool: string;
  readonly sysfsRoot: string;
  readonly files: ClaimFiles;
  readonly log: Log;
  readonly getClaim: (ref: Pick<ClaimRef, "namespace" | "name">) => Promise<ApiResult<ResourceClaim>>;
  /** Holders through the device plugin API by HCA name, asked now; a sentence when that is not known. */
  readonly heldBy: () => Promise<{ ok: true; held: ReadonlyMap<string, string> } | { ok: false; reason: string }>;
  readonly machine: () => Machine;
  /** Scans the machine now. */
  readonly rescan: (detail: string) => Promise<void>;
  /** A claim came or went. */
  readonly onChange: () => void;
  /**
   * How long a call to prepare waits for what may pass, in milliseconds: an HCA that is being given back, an API server or
   * a kubelet that does not answer. A pod that is deleted without grace is gone for the scheduler before the kubelet has
   * unprepared its claim. And a kubelet that was refused asks again only when it looks at the pod next, after its
   * syncFrequency of a minute: SyncPod in pkg/kubelet/kuberuntime returns no error for this.
   */
  readonly patienceMs?: number;
  /** Milliseconds of a monotonic clock. */
  readonly now?: () => number;
}

/** The kubelet waits 45 s for the answer, and the last try may take ten. */
const PATIENCE_MS = 25_000;
/** How soon it is tried again, and at most how late; of a claim's end this process knows at once, as a rule. */
const RECHECK_MS = 250;
const LONGEST_RECHECK_MS = 2_000;
/**
 * How long no pod must have had a claim before what is kept of it may go, in milliseconds. Containers of a pod that was
 * deleted by force may run on although neither the API server nor PodResources know it; the kubelet, which does, unprepares
 * its claims within a minute (reconcilePeriod in pkg/kubelet/cm/dra/manager.go).
 */
const ABANDONED_MS = 180_000;

/** The claims of one driver on this node. */
export class Claims {
  readonly #options: ClaimsOptions;
  /** What touches the disk happens one after the other; calls to the API server do not wait for it. */
  #turn: Promise<unknown> = Promise.resolve();
  /** Prepares that wait for an HCA. */
  readonly #waiting = new Set<() => void>();
  /** Prepares under way, by the claim's UID. */
  readonly #underway = new Map<string, Set<AbortController>>();
  /** Since when no pod has what is on disk, by the claim's UID. */
  readonly #unused = new Map<string, number>();

  constructor(options: ClaimsOptions) {
    this.#options = options;
  }

  /**
   * Never rejects; the reason names the claim and the device.
   *
   * @param call when it is over nothing may be written any more: the kubelet may have unprepared the claim already
   */
  async prepare(ref: ClaimRef, call?: PrepareCall): Promise<PrepareAnswer> {
    const { log, patienceMs = PATIENCE_MS } = this.#options;
    const { signal, begun = performance.now() } = call ?? {};
    if (!isUid(ref.uid)) return { ok: false, reason: `claim ${nameOf(ref)}: ${JSON.stringify(ref.uid)} is no UID` };
    const control = new AbortController();
    const abort = () => this.#abort(control);
    const same = this.#underway.get(ref.uid) ?? new Set();
    this.#underway.set(ref.uid, same.add(control));
    signal?.addEventListener("abort", abort, { once: true });
    if (signal?.aborted) abort();
    try {
      const answer = await this.#prepareInTime(ref, control.signal, begun + patienceMs);
      if (answer.ok) log.info(`claim ${nameOf(ref)} is prepared: ${names(answer.devices)}`, { claim: ref.uid });
      else log.warn(`prepare refused: ${answer.reason}`, { claim: ref.uid });
      return answer;
    } catch (error) {
      const reason = `claim ${nameOf(ref)}: ${error instanceof Error ? error.message : error}`;
      log.error(`prepare failed: ${reason}`, { claim: ref.uid });
      return { ok: false, reason };
    } finally {
      signal?.removeEventListener("abort", abort);
      same.delete(control);
      if (same.size === 0 && this.#underway.get(ref.uid) === same) this.#underway.delete(ref.uid);
    }
  }

  /** Ends prepares that wait. */
  close(): void {
    for (const control of [...this.#underway.values()].flatMap((one) => [...one])) this.#abort(control);
  }

  #abort(control: AbortController): void {
    control.abort();
    for (const wake of [...this.#waiting]) wake();
  }

  /** Succeeds for claims that were never prepared. Needs neither the API server nor the claim's object. */
  unprepare(ref: ClaimRef): Promise<string | null> {
    const { files, log, onChange } = this.#options;
    if (!isUid(ref.uid)) return Promise.resolve(null); // never was a file's name, so there is none
    for (const control of this.#underway.get(ref.uid) ?? []) this.#abort(control);
    return this.#inTurn(() => {
      try {
        const known = files.read().records.some((one) => one.uid === ref.uid);
        files.remove(ref.uid);
        if (known) log.info(`claim ${nameOf(ref)} is unprepared`, { claim: ref.uid });
      } catch (error) {
        const reason = `claim ${nameOf(ref)}: ${error instanceof Error ? error.message : error}`;
        log.error(`unprepare failed: ${reason}`, { claim: ref.uid });
        return reason;
      }
      onChange();
      for (const wake of [...this.#waiting]) wake();
      return null;
    });
  }

  /** Makes CDI files what their records and the machine say: after a reboot, or when nodes were renumbered. */
  refresh(): Promise<void> {
    const { files, log } = this.#options;
    return this.#inTurn(() => {
      const { hcas, host } = this.#options.machine();
      for (const record of files.read().records) {
        try {
          const { cdi } = renderClaim(record, hcas, host);
          const next = { ...record, cdi };
          // The file first: it is what containers get, and may have room where the record has none.
          if (files.writeCdi(next)) {
            log.info(`the CDI file of claim ${nameOf(record)} is written again`, { claim: record.uid });
          }
          files.writeRecord(next);
        } catch (error) {
          const reason = error instanceof Error ? error.message : String(error);
          log.error(`Cannot write the CDI file of claim ${nameOf(record)}: ${reason}; its containers cannot restart`);
        }
      }
    });
  }

  /**
   * Removes what is left of claims that are gone: no pod has had them for {@link ABANDONED_MS}, and the API server does not
   * have them either. Without an answer of both nothing is removed. To be called again and again.
   *
   * @param claimed devices of claims that pods have; null when that is not known
   */
  async removeAbandoned(claimed: readonly ClaimedDevice[] | null): Promise<void> {
    if (claimed === null) return;
    const { files, log, getClaim, now = () => performance.now(), driver } = this.#options;
    const ours = claimed.filter((one) => one.driver === driver);
    // In this order: a record is written before its CDI file, so a file that is seen has its record by now.
    const uids = files.cdiUids();
    const { records, unreadable } = files.read();
    const withRecord = new Set([...records.map((one) => one.uid), ...unreadable.map(uidOfFile)]);
    const unused = new Set<string>();
    const isOld = (uid: string): boolean => {
      unused.add(uid);
      const since = this.#unused.get(uid) ?? now();
      this.#unused.set(uid, since);
      return now() - since >= ABANDONED_MS;
    };
    for (const record of records) {
      const inUse = ours.some((one) =>
        nameOf({ namespace: one.claimNamespace, name: one.claim }) === nameOf(record) &&
        record.devices.some(({ device }) => device === one.device)
      );
      if (inUse || !isOld(record.uid)) continue;
      const claim = await getClaim(record);
      const gone = claim.ok ? claim.value.metadata.uid !== record.uid : claim.error.status === 404;
      if (!gone) continue;
      await this.unprepare(record);
      log.info(`claim ${nameOf(record)} is gone, and so is what was kept of it`, { claim: record.uid });
    }
    // A CDI file without a record: the driver's directory was removed under it.
    for (const uid of uids.filter((one) => !withRecord.has(one))) {
      const devices = files.cdiDevices(uid) ?? [];
      if (ours.some((one) => devices.includes(one.device)) || !isOld(uid)) continue;
      await this.#inTurn(() => {
        if (!files.hasRecord(uid)) files.remove(uid);
      });
    }
    for (const uid of this.#unused.keys()) if (!unused.has(uid)) this.#unused.delete(uid);
  }

  /** Tries until nothing is in the way, or it is too late. */
  async #prepareInTime(ref: ClaimRef, signal: AbortSignal, end: number): Promise<PrepareAnswer> {
    const { log } = this.#options;
    for (let tries = 0;; tries++) {
      const answer = await this.#prepare(ref, signal);
      const left = end - performance.now();
      if (answer.ok || answer.passing !== true || left <= 0) return answer;
      if (signal.aborted) return withdrawn(ref);
      if (tries === 0) log.info(`${answer.reason}; trying again for ${(left / 1e3).toFixed(0)} s`, { claim: ref.uid });
      await new Promise<void>((resolve) => {
        const wake = () => {
          clearTimeout(timer);
          this.#waiting.delete(wake);
          resolve();
        };
        const recheck = Math.min(LONGEST_RECHECK_MS, RECHECK_MS * 2 ** Math.min(tries, 10));
        // Not all of them at once: two processes that both step back would do so again.
        const timer = setTimeout(wake, Math.min(recheck * (0.5 + Math.random() / 2), left));
        this.#waiting.add(wake);
      });
    }
  }

  async #prepare(ref: ClaimRef, signal: AbortSignal): Promise<PrepareAnswer> {
    const { getClaim, heldBy } = this.#options;
    const [claim, holders] = await Promise.all([getClaim(ref), heldBy()]);
    if (!claim.ok) {
      // The API server may be away or refuse the plugin for an hour: what was prepared can be prepared again without it.
      const { status, message } = claim.error;
      if (status !== 404) return await this.#checked(ref, (last) => this.#again(ref, claim.error, signal, last));
      return { ok: false, reason: `claim ${nameOf(ref)}: ${message}` };
    }
    const mismatch = claimMismatch(ref, claim.value);
    if (mismatch !== null) return { ok: false, reason: `claim ${mismatch}` };
    if (!holders.ok) {
      const reason = `which HCAs pods have through the device plugin API is not known: ${holders.reason}`;
      return { ok: false, reason: `claim ${nameOf(ref)}: ${reason}`, passing: true };
    }
    const parse = await this.#reader(claim.value);
    return await this.#checked(
      ref,
      (last) => this.#decideAndWrite(ref, claim.value, holders.held, parse, signal, last),
    );
  }

  /** Tries with what the last scan found, and after a scan when the nodes are not as it found them. */
  async #checked(
    ref: ClaimRef,
    work: (last: boolean) => Promise<PrepareAnswer | null>,
  ): Promise<PrepareAnswer> {
    const first = await work(false);
    if (first !== null) return first;
    // Nodes were renumbered since the last scan. The machine is asked, not believed from memory.
    await this.#options.rescan(`the nodes of claim ${nameOf(ref)} are not as in the last scan`);
    return (await work(true))!;
  }

  /** Null when sysfs says something else than the last scan, and may be asked again. */
  #decideAndWrite(
    ref: ClaimRef,
    claim: ResourceClaim,
    heldBy: ReadonlyMap<string, string>,
    parse: (parameters: unknown) => ParsedConfig,
    signal: AbortSignal,
    last: boolean,
  ): Promise<PrepareAnswer | null> {
    const { files, machine, driver, pool } = this.#options;
    return this.#inTurn((): PrepareAnswer | null => {
      if (signal.aborted) return withdrawn(ref);
      const { devices, hcas, host } = machine();
      const before = files.read().records.find((one) => one.uid === ref.uid) ?? null;
      const decision = decide(ref, claim, { driver, pool, devices, hcas, host, heldBy, parse, before });
      if (!decision.ok) return decision;
      const { record, checks } = decision;
      const wrong = this.#wrong(checks);
      if (wrong !== null) return last ? { ok: false, reason: `claim ${nameOf(ref)}: ${wrong} right now` } : null;
      // Another process of this driver may be doing the same for another claim at this moment. Each writes down what it
      // wants before it reads what others want, so at least one of the two sees the other and steps back.
      const again = before?.state === "prepared" && sameDevices(before, record);
      if (!again) files.writeRecord(record);
      const { records, unreadable } = files.read();
      const others = records.filter((one) => !again || one.state === "prepared");
      const torn = unreadable.map((path) => ({ path, devices: files.cdiDevices(uidOfFile(path)) }));
      const reason = conflict(record, others) ?? hiddenConflict(record, torn);
      if (reason !== null) {
        if (before === null) files.remove(ref.uid);
        else files.writeRecord(before);
        return { ok: false, reason, passing: true };
      }
      const prepared: ClaimRecord = { ...record, state: "prepared" };
      files.writeCdi(prepared);
      files.writeRecord(prepared);
      this.#options.onChange();
      return { ok: true, devices: answerOf(prepared) };
    });
  }

  /** Prepares from the record what was prepared before; its UID says that it is the same claim. */
  #again(ref: ClaimRef, error: ApiError, signal: AbortSignal, last: boolean): Promise<PrepareAnswer | null> {
    const { files, machine, log } = this.#options;
    return this.#inTurn((): PrepareAnswer | null => {
      if (signal.aborted) return withdrawn(ref);
      const record = files.read().records.find((one) => one.uid === ref.uid && one.state === "prepared");
      if (record === undefined) {
        const { status, message } = error;
        const passing = status === null || status >= 500 || status === 429;
        return { ok: false, reason: `claim ${nameOf(ref)}: ${message}`, ...passing ? { passing } : {} };
      }
      const { hcas, host } = machine();
      const { cdi, checks } = renderClaim(record, hcas, host);
      const wrong = this.#wrong(checks);
      if (wrong !== null) return last ? { ok: false, reason: `claim ${nameOf(ref)}: ${wrong} right now` } : null;
      const next = { ...record, cdi };
      files.writeCdi(next);
      files.writeRecord(next);
      log.warn(`claim ${nameOf(ref)} is prepared as before: ${error.message}`, { claim: ref.uid });
      return { ok: true, devices: answerOf(next) };
    });
  }

  /** The schema of opaque parameters is loaded by the first claim that has any. */
  async #reader(claim: ResourceClaim): Promise<(parameters: unknown) => ParsedConfig> {
    const ours = (claim.status?.allocation?.devices?.config ?? []).some((one) =>
      one.opaque?.driver === this.#options.driver
    );
    if (!ours) return () => ({ ok: false, reason: "there are none" });
    return (await import("./rdma_config.ts")).parseRdmaConfig;
  }

  /** What of the nodes is not as the last scan found it; null when all is. */
  #wrong(checks: readonly Check[]): string | null {
    const { machine, sysfsRoot } = this.#options;
    const wrong = checks.find((one) =>
      "hostPath" in one
        ? machine().host.has(one.hostPath) !== one.exists
        : readLine(`${sysfsRoot}/${one.path}`) !== one.expected
    );
    if (wrong === undefined) return null;
    return "hostPath" in wrong ? `${wrong.hostPath} comes and goes` : `the nodes of ${wrong.hca} are changing`;
  }

  #inTurn<T>(work: () => T): Promise<T> {
    const done = this.#turn.then(() => this.#options.files.alone(work));
    this.#turn = done.catch(() => undefined); // the caller gets the error; the next one has its turn all the same
    return done;
  }
}

function withdrawn(ref: ClaimRef): PrepareAnswer {
  return { ok: false, reason: `claim ${nameOf(ref)}: it is not asked for any more` };
}

function sameDevices(a: ClaimRecord, b: ClaimRecord): boolean {
  const devices = (record: ClaimRecord) => record.devices.map((one) => [one.device, one.shareID, one.admin]);
  return JSON.stringify(devices(a)) === JSON.stringify(devices(b));
}

function answerOf(record: ClaimRecord): readonly PreparedDevice[] {
  return record.devices.map((one) => ({
    requests: [one.request],
    pool: one.pool,
    device: one.device,
    shareID: one.shareID,
    cdiIds: [`${claimKind(record.driver)}=${one.cdiName}`],
  }));
}

function names(devices: readonly PreparedDevice[]): string {
  return devices.map((one) => one.cdiIds.join(" ")).join(", ") || "no device of this driver";
}
