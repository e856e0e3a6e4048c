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
  | { readonly ok: false; readonly reason: string; readonly held?: true };

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
   * How long a prepare waits for an HCA that somebody has, in milliseconds. A pod that is deleted without grace is gone for
   * the scheduler before the kubelet has unprepared its claim, and a kubelet that was refused asks again only at its next
   * resync, a minute later.
   */
  readonly patienceMs?: number;
}

const PATIENCE_MS = 10_000;
/** How often it is checked whether it was given back; of a claim's end this process knows at once, as a rule. */
const RECHECK_MS = 500;

/** The claims of one driver on this node. */
export class Claims {
  readonly #options: ClaimsOptions;
  /** What touches the disk happens one after the other; calls to the API server do not wait for it. */
  #turn: Promise<unknown> = Promise.resolve();
  /** Prepares that wait for an HCA. */
  readonly #waiting = new Set<() => void>();

  constructor(options: ClaimsOptions) {
    this.#options = options;
  }

  /** Never rejects; the reason names the claim and the device. */
  async prepare(ref: ClaimRef): Promise<PrepareAnswer> {
    const { log } = this.#options;
    if (!isUid(ref.uid)) return { ok: false, reason: `claim ${nameOf(ref)}: ${JSON.stringify(ref.uid)} is no UID` };
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
    if (!isUid(ref.uid)) return Promise.resolve(null); // never was a file's name, so there is none
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
          if (JSON.stringify(cdi) !== JSON.stringify(record.cdi)) files.writeRecord(next);
          if (files.writeCdi(next)) {
            log.info(`the CDI file of claim ${nameOf(record)} is written again`, { claim: record.uid });
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
      log.info(`claim ${nameOf(record)} is gone, and so is what was kept of it`, { claim: record.uid });
    }
    // A CDI file without a record: somebody removed the driver's directory under it. Whose it was is not known any more.
    const known = new Set(records.map((one) => one.uid));
    if (inUse.size > 0) return;
    for (const uid of files.cdiUids()) if (!known.has(uid)) await this.#inTurn(() => files.remove(uid));
  }

  /** Tries until the HCA is free or patience is over. */
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
      // The API server may be away for an hour: what was prepared can be prepared again without it.
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
    // Nodes were renumbered since the last scan. The machine is asked, not believed from memory.
    await this.#options.rescan(`the nodes of claim ${nameOf(ref)} are not as in the last scan`);
    return (await this.#decideAndWrite(ref, claim.value, holders.held, parse, true))!;
  }

  /** Null when sysfs says something else than the last scan, and may be asked again. */
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
      // Another process of this driver may be doing the same for another claim at this moment. Each writes down what it
      // wants before it reads what others want, so at least one of the two sees the other and steps back.
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

  /** Prepares from the record what was prepared before; its UID says that it is the same claim. */
  #again(ref: ClaimRef, reason: string): Promise<PrepareAnswer> {
    const { files, machine, log } = this.#options;
    return this.#inTurn((): PrepareAnswer => {
      const record = files.read().records.find((one) => one.uid === ref.uid && one.state === "prepared");
      if (record === undefined) return { ok: false, reason: `claim ${nameOf(ref)}: ${reason}` };
      const { hcas, host } = machine();
      const next = { ...record, cdi: renderClaim(record, hcas, host).cdi };
      files.writeRecord(next);
      files.writeCdi(next);
      log.warn(`claim ${nameOf(ref)} is prepared as before: ${reason}`, { claim: ref.uid });
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

  #verify(check: Check): boolean {
    if ("hostPath" in check) return this.#options.machine().host.has(check.hostPath) === check.exists;
    return readLine(`${this.#options.sysfsRoot}/${check.path}`) === check.expected;
  }

  #inTurn<T>(work: () => T): Promise<T> {
    const done = this.#turn.then(work);
    this.#turn = done.catch(() => undefined); // the caller gets the error; the next one has its turn all the same
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
