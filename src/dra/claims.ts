/**
 * Prepares and unprepares claims. The order of the steps allows the process to be killed between any two of them:
 *
 *     GET claim ─► decide ─► record "pending" ─► conflicting claim? ─► CDI file ─► record "prepared" ─► answer
 *
 * @module
 */
import { readLine } from "../hca/files.ts";
import type { Hca } from "../hca/types.ts";
import type { ApiResult } from "../kubernetes/client.ts";
import type { ResourceClaim } from "../kubernetes/resource_api.ts";
import type { Check, HostFacts } from "../pool/allocate.ts";
import type { Log } from "../text/log.ts";
import { renderClaim } from "./claim_cdi.ts";
import { type ClaimFiles, isUid } from "./claim_files.ts";
import { type ClaimRecord, type ClaimRef, nameOf } from "./claim_record.ts";
import { claimKind } from "./claim_cdi.ts";
import type { DraDevice } from "./devices.ts";
import { claimMismatch, conflict, decide } from "./prepare.ts";
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
  | { readonly ok: false; readonly reason: string; readonly held?: true };

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
   * How long a prepare waits for an HCA that another pod holds, in milliseconds. When a pod is force-deleted, the
   * scheduler reuses its devices before the kubelet has unprepared its claim; and after an error, the kubelet calls
   * again only at its next resync, a minute later.
   */
  readonly patienceMs?: number;
}

const PATIENCE_MS = 10_000;
/**
 * Interval of checks whether the HCA is free; usually this process unprepares the claim itself and need not wait for
 * one.
 */
const RECHECK_MS = 500;

/** The claims of one driver on this node. */
export class Claims {
  readonly #options: ClaimsOptions;
  /** Serializes access to the disk; calls to the API server do not wait for it. */
  #turn: Promise<unknown> = Promise.resolve();
  /** Wakes the prepares that wait for an HCA. */
  readonly #waiting = new Set<() => void>();

  constructor(options: ClaimsOptions) {
    this.#options = options;
  }

  /** Never rejects; the reason names the claim and the device. */
  async prepare(ref: ClaimRef): Promise<PrepareAnswer> {
    const { log } = this.#options;
    if (!isUid(ref.uid)) {
      return { ok: false, reason: `claim ${nameOf(ref)}: ${JSON.stringify(ref.uid)} is not a valid UID` };
    }
    try {
      const answer = await this.#prepareInTime(ref);
      if (answer.ok) log.info(`claim ${nameOf(ref)} is prepared: ${names(answer.devices)}`, { claim: ref.uid });
      else log.warn(`prepare refused: ${answer.reason}`, { claim: ref.uid });
      return answer;
    } catch (error) {
      const reason = `claim ${nameOf(ref)}: ${error instanceof Error ? error.message : error}`;
      log.error(`prepare failed: ${reason}`, { claim: ref.uid });
      return { ok: false, reason };
    }
  }

  /** Succeeds for claims that were never prepared. Needs neither the API server nor the claim's object. */
  unprepare(ref: ClaimRef): Promise<string | null> {
    const { files, log, onChange } = this.#options;
    if (!isUid(ref.uid)) return Promise.resolve(null); // it cannot have been prepared
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
          if (JSON.stringify(cdi) !== JSON.stringify(record.cdi)) files.writeRecord(next);
          if (files.writeCdi(next)) {
            log.info(`the CDI file of claim ${nameOf(record)} was rewritten`, { claim: record.uid });
          }
        } catch (error) {
          const reason = error instanceof Error ? error.message : String(error);
          log.error(`Cannot write the CDI file of claim ${nameOf(record)}: ${reason}; its containers cannot restart`);
        }
      }
    });
  }

  /**
   * Removes what is left of claims that are gone: the API server does not have them, and no pod does either. Without an
   * answer of both nothing is removed.
   *
   * @param inUse "namespace/name" of claims that pods have; null when that is not known
   */
  async removeAbandoned(inUse: ReadonlySet<string> | null): Promise<void> {
    if (inUse === null) return;
    const { files, log, getClaim } = this.#options;
    const { records } = files.read();
    for (const record of records) {
      if (inUse.has(nameOf(record))) continue;
      const claim = await getClaim(record);
      const gone = claim.ok ? claim.value.metadata.uid !== record.uid : claim.error.status === 404;
      if (!gone) continue;
      await this.unprepare(record);
      log.info(`claim ${nameOf(record)} does not exist any more; its record and CDI file were removed`, {
        claim: record.uid,
      });
    }
    // CDI files without records: the driver's directory was deleted, so the claims are unknown.
    const known = new Set(records.map((one) => one.uid));
    if (inUse.size > 0) return;
    for (const uid of files.cdiUids()) if (!known.has(uid)) await this.#inTurn(() => files.remove(uid));
  }

  /** Retries until the HCA is free or the time is up. */
  async #prepareInTime(ref: ClaimRef): Promise<PrepareAnswer> {
    const { patienceMs = PATIENCE_MS, log } = this.#options;
    const end = performance.now() + patienceMs;
    for (let waited = false;; waited = true) {
      const answer = await this.#prepare(ref);
      const left = end - performance.now();
      if (answer.ok || answer.held !== true || left <= 0) return answer;
      if (!waited) log.info(`${answer.reason}; waiting for it to be given back`, { claim: ref.uid });
      await new Promise<void>((resolve) => {
        const wake = () => {
          clearTimeout(timer);
          this.#waiting.delete(wake);
          resolve();
        };
        const timer = setTimeout(wake, Math.min(RECHECK_MS, left));
        this.#waiting.add(wake);
      });
    }
  }

  async #prepare(ref: ClaimRef): Promise<PrepareAnswer> {
    const { getClaim, heldBy } = this.#options;
    const [claim, holders] = await Promise.all([getClaim(ref), heldBy()]);
    if (!claim.ok) {
      // A claim that was prepared before can be prepared again without the API server, however long it is unreachable.
      const unreachable = claim.error.status === null || claim.error.status >= 500 || claim.error.status === 429;
      if (unreachable) return await this.#again(ref, claim.error.message);
      return { ok: false, reason: `claim ${nameOf(ref)}: ${claim.error.message}` };
    }
    const mismatch = claimMismatch(ref, claim.value);
    if (mismatch !== null) return { ok: false, reason: `claim ${mismatch}` };
    if (!holders.ok) {
      const reason = `which HCAs pods have through the device plugin API is not known: ${holders.reason}`;
      return { ok: false, reason: `claim ${nameOf(ref)}: ${reason}` };
    }
    const parse = await this.#reader(claim.value);
    const first = await this.#decideAndWrite(ref, claim.value, holders.held, parse, false);
    if (first !== null) return first;
    // The device nodes were renumbered after the last scan.
    await this.#options.rescan(`the nodes of claim ${nameOf(ref)} differ from the last scan`);
    return (await this.#decideAndWrite(ref, claim.value, holders.held, parse, true))!;
  }

  /** Null when sysfs differs from the last scan and this is not the last attempt: the caller scans and tries again. */
  #decideAndWrite(
    ref: ClaimRef,
    claim: ResourceClaim,
    heldBy: ReadonlyMap<string, string>,
    parse: (parameters: unknown) => ParsedConfig,
    last: boolean,
  ): Promise<PrepareAnswer | null> {
    const { files, machine, driver, pool } = this.#options;
    return this.#inTurn((): PrepareAnswer | null => {
      const { devices, hcas, host } = machine();
      const before = files.read().records.find((one) => one.uid === ref.uid) ?? null;
      const decision = decide(ref, claim, { driver, pool, devices, hcas, host, heldBy, parse, before });
      if (!decision.ok) return decision;
      const { record, checks } = decision;
      const wrong = checks.find((one) => !this.#verify(one));
      if (wrong !== undefined) {
        if (!last) return null;
        const what = "hostPath" in wrong
          ? `${wrong.hostPath} comes and goes`
          : `the nodes of ${wrong.hca} are changing`;
        return { ok: false, reason: `claim ${nameOf(ref)}: ${what} right now` };
      }
      // Another process of this driver may prepare a conflicting claim at the same time. Each process writes its own
      // record before it reads the others', so at least one of them sees the conflict and withdraws.
      const again = before?.state === "prepared" && sameDevices(before, record);
      if (!again) files.writeRecord(record);
      const others = files.read().records.filter((one) => !again || one.state === "prepared");
      const reason = conflict(record, others);
      if (reason !== null) {
        if (before === null) files.remove(ref.uid);
        else files.writeRecord(before);
        return { ok: false, reason, held: true };
      }
      const prepared: ClaimRecord = { ...record, state: "prepared" };
      files.writeCdi(prepared);
      files.writeRecord(prepared);
      this.#options.onChange();
      return { ok: true, devices: answerOf(prepared) };
    });
  }

  /** Prepares a claim from its record; the UID identifies it. */
  #again(ref: ClaimRef, reason: string): Promise<PrepareAnswer> {
    const { files, machine, log } = this.#options;
    return this.#inTurn((): PrepareAnswer => {
      const record = files.read().records.find((one) => one.uid === ref.uid && one.state === "prepared");
      if (record === undefined) return { ok: false, reason: `claim ${nameOf(ref)}: ${reason}` };
      const { hcas, host } = machine();
      const next = { ...record, cdi: renderClaim(record, hcas, host).cdi };
      files.writeRecord(next);
      files.writeCdi(next);
      log.warn(`claim ${nameOf(ref)} is prepared from its record: ${reason}`, { claim: ref.uid });
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

  #verify(check: Check): boolean {
    if ("hostPath" in check) return this.#options.machine().host.has(check.hostPath) === check.exists;
    return readLine(`${this.#options.sysfsRoot}/${check.path}`) === check.expected;
  }

  #inTurn<T>(work: () => T): Promise<T> {
    const done = this.#turn.then(work);
    this.#turn = done.catch(() => undefined); // the caller gets the error; the next operation runs regardless
    return done;
  }
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
