/**
 * Prepares and unprepares claims. The order of the steps allows the process to be killed between any two of them:
 *
 *     GET claim ─► decide ─► record "pending" ─► conflicting claim? ─► CDI file ─► record "prepared" ─► answer
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
import { Abandoned } from "./abandoned.ts";
import { renderClaim } from "./claim_cdi.ts";
import { type ClaimFiles, isUid, uidOfFile } from "./claim_files.ts";
import { type ClaimRecord, type ClaimRef, nameOf } from "./claim_record.ts";
import { claimKind } from "./claim_cdi.ts";
import type { DraDevice } from "./devices.ts";
import { claimMismatch, conflict, decide, hiddenConflict } from "./prepare.ts";
import type { ParsedConfig } from "./rdma_config.ts";

/** The answer to the kubelet for one device of a claim. */
export interface PreparedDevice {
  readonly requests: readonly string[];
  readonly pool: string;
  readonly device: string;
  readonly shareID: string | null;
  readonly cdiIds: readonly string[];
}

export type PrepareAnswer =
  | { readonly ok: true; readonly devices: readonly PreparedDevice[] }
  /** `passing`: the reason may be temporary, so it is worth trying again. */
  | { readonly ok: false; readonly reason: string; readonly passing?: true };

/** The call of the kubelet that a prepare belongs to. */
export interface PrepareCall {
  /** Aborts when the kubelet cancels the call. */
  readonly signal: AbortSignal;
  /** Start of the call, in milliseconds of `performance.now()`. */
  readonly begun: number;
}

/** The machine according to the last scan. */
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
  /** Asks the kubelet for the holders through the device plugin API, by HCA name; the reason when they are unknown. */
  readonly heldBy: () => Promise<{ ok: true; held: ReadonlyMap<string, string> } | { ok: false; reason: string }>;
  readonly machine: () => Machine;
  /** Scans the machine now. */
  readonly rescan: (detail: string) => Promise<void>;
  /** Called when a claim was prepared or unprepared. */
  readonly onChange: () => void;
  /**
   * How long a call retries when the reason may be temporary, in milliseconds: another pod holds the HCA, or the API server
   * or the kubelet do not answer. When a pod is force-deleted, the scheduler reuses its devices before the kubelet has
   * unprepared its claim. After an error the kubelet calls again only at its next resync, a minute later (syncFrequency):
   * SyncPod in pkg/kubelet/kuberuntime does not return this error.
   */
  readonly patienceMs?: number;
  /** Milliseconds of a monotonic clock. */
  readonly now?: () => number;
}

/** The kubelet's deadline is 45 s, and the last attempt may take 10 s. */
const PATIENCE_MS = 25_000;
/** Shortest and longest interval of attempts; usually this process unprepares the claim itself and need not wait for one. */
const RECHECK_MS = 250;
const LONGEST_RECHECK_MS = 2_000;
/** The claims of one driver on this node. */
export class Claims {
  readonly #options: ClaimsOptions;
  /** Serializes access to the disk; calls to the API server do not wait for it. */
  #turn: Promise<unknown> = Promise.resolve();
  /** Wakes the prepares that wait for an HCA. */
  readonly #waiting = new Set<() => void>();
  /** Running prepares by claim UID. */
  readonly #underway = new Map<string, Set<AbortController>>();
  readonly #abandoned: Abandoned;

  constructor(options: ClaimsOptions) {
    this.#options = options;
    this.#abandoned = new Abandoned(options);
  }

  /**
   * Never rejects; the reason names the claim and the device.
   *
   * @param call nothing is written after it was cancelled, because the kubelet may have unprepared the claim already
   */
  async prepare(ref: ClaimRef, call?: PrepareCall): Promise<PrepareAnswer> {
    const { log, patienceMs = PATIENCE_MS } = this.#options;
    const { signal, begun = performance.now() } = call ?? {};
    if (!isUid(ref.uid)) {
      return { ok: false, reason: `claim ${nameOf(ref)}: ${JSON.stringify(ref.uid)} is not a valid UID` };
    }
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

  /** Cancels all running prepares. */
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
    if (!isUid(ref.uid)) return Promise.resolve(null); // it cannot have been prepared
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

  /** Rewrites the CDI files that are missing or outdated: after a reboot, or when device nodes were renumbered. */
  refresh(): Promise<void> {
    const { files, log } = this.#options;
    return this.#inTurn(() => {
      const { hcas, host } = this.#options.machine();
      for (const record of files.read().records) {
        try {
          const { cdi } = renderClaim(record, hcas, host);
          const next = { ...record, cdi };
          // The CDI file first: containers need it, and it may be writable when the disk of the records is full.
          if (files.writeCdi(next)) {
            log.info(`the CDI file of claim ${nameOf(record)} was rewritten`, { claim: record.uid });
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
   * Removes the records and CDI files of claims that do not exist any more (abandoned.ts). To be called periodically.
   *
   * @param claimed the devices of all claims that pods use; null when they are unknown, and then nothing is removed
   */
  async removeAbandoned(claimed: readonly ClaimedDevice[] | null): Promise<void> {
    if (claimed === null) return;
    const { files, log } = this.#options;
    const { claims, withoutRecord } = await this.#abandoned.find(claimed);
    for (const record of claims) {
      await this.unprepare(record);
      log.info(`claim ${nameOf(record)} does not exist any more; its record and CDI file were removed`, {
        claim: record.uid,
      });
    }
    for (const uid of withoutRecord) {
      await this.#inTurn(() => {
        if (!files.hasRecord(uid)) files.remove(uid);
      });
    }
  }

  /** Retries until the prepare succeeds, fails for good, or the time is up. */
  async #prepareInTime(ref: ClaimRef, signal: AbortSignal, end: number): Promise<PrepareAnswer> {
    const { log } = this.#options;
    for (let tries = 0;; tries++) {
      const answer = await this.#prepare(ref, signal);
      const left = end - performance.now();
      if (answer.ok || answer.passing !== true || left <= 0) return answer;
      if (signal.aborted) return withdrawn(ref);
      if (tries === 0) log.info(`${answer.reason}; retrying for ${(left / 1e3).toFixed(0)} s`, { claim: ref.uid });
      await new Promise<void>((resolve) => {
        const wake = () => {
          clearTimeout(timer);
          this.#waiting.delete(wake);
          resolve();
        };
        const recheck = Math.min(LONGEST_RECHECK_MS, RECHECK_MS * 2 ** Math.min(tries, 10));
        // With jitter: two processes that withdraw for each other must not do so again and again.
        const timer = setTimeout(wake, Math.min(recheck * (0.5 + Math.random() / 2), left));
        this.#waiting.add(wake);
      });
    }
  }

  async #prepare(ref: ClaimRef, signal: AbortSignal): Promise<PrepareAnswer> {
    const { getClaim, heldBy } = this.#options;
    const [claim, holders] = await Promise.all([getClaim(ref), heldBy()]);
    if (!claim.ok) {
      // A claim that was prepared before can be prepared again without the API server, however long it is unreachable.
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

  /** Calls `work`, and once more after a scan when it returns null because the nodes differ from the last scan. */
  async #checked(
    ref: ClaimRef,
    work: (last: boolean) => Promise<PrepareAnswer | null>,
  ): Promise<PrepareAnswer> {
    const first = await work(false);
    if (first !== null) return first;
    // The device nodes were renumbered after the last scan.
    await this.#options.rescan(`the nodes of claim ${nameOf(ref)} differ from the last scan`);
    return (await work(true))!;
  }

  /** Null when sysfs differs from the last scan and this is not the last attempt: the caller scans and tries again. */
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

  /** Prepares a claim from its record; the UID identifies it. */
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
      log.warn(`claim ${nameOf(ref)} is prepared from its record: ${error.message}`, { claim: ref.uid });
      return { ok: true, devices: answerOf(next) };
    });
  }

  /** Loads the schema of opaque parameters with the first claim that has some for this driver. */
  async #reader(claim: ResourceClaim): Promise<(parameters: unknown) => ParsedConfig> {
    const ours = (claim.status?.allocation?.devices?.config ?? []).some((one) =>
      one.opaque?.driver === this.#options.driver
    );
    if (!ours) return () => ({ ok: false, reason: "there are none" });
    return (await import("./rdma_config.ts")).parseRdmaConfig;
  }

  /** The first node that differs from the last scan, in words; null when none does. */
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
    this.#turn = done.catch(() => undefined); // the caller gets the error; the next operation runs regardless
    return done;
  }
}

function withdrawn(ref: ClaimRef): PrepareAnswer {
  return { ok: false, reason: `claim ${nameOf(ref)}: the kubelet has cancelled the prepare` };
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
