/**
 * Claims on disk: a record per claim in the driver's directory, and the CDI file generated from it. The record is
 * written before the kubelet gets its answer, so after a crash the next process knows which devices are held.
 *
 * @module
 */
import { closeSync, existsSync, fsyncSync, mkdirSync, openSync, renameSync, rmSync, writeFileSync } from "node:fs";
import { basename, dirname, join } from "node:path";
import type { CdiSpec } from "../pool/cdi.ts";
import { DEVICES_ANNOTATION } from "./claim_cdi.ts";
import { withLock } from "./claim_lock.ts";
import type { ClaimRecord } from "./claim_record.ts";
import { namesIn, textIn } from "../kubelet/files.ts";

/** The write operations, so that a test can end the process between any two of them. */
export interface Disk {
  /** @param durable whether to wait until it has reached the disk */
  write(path: string, text: string, mode: number, durable: boolean): void;
  rename(from: string, to: string): void;
  remove(path: string): void;
  makeDirectory(path: string, mode: number): void;
}

export const DISK: Disk = {
  write: (path, text, mode, durable) => {
    const file = openSync(path, "w", mode);
    try {
      writeFileSync(file, text);
      if (durable) fsyncSync(file);
    } finally {
      closeSync(file);
    }
  },
  rename: (from, to) => renameSync(from, to),
  remove: (path) => rmSync(path, { force: true }),
  makeDirectory: (path, mode) => void mkdirSync(path, { recursive: true, mode }),
};

/** Directory of the records inside the driver's directory. */
const CLAIMS = "claims";

/** The records and CDI files of one driver. */
export class ClaimFiles {
  readonly #dir: string;
  readonly #cdiDir: string;
  readonly #driver: string;
  readonly #disk: Disk;

  /** @param driverDir such as /var/lib/kubelet/plugins/rdma.tencent.com */
  constructor(driverDir: string, cdiDir: string, driver: string, disk: Disk = DISK) {
    this.#dir = join(driverDir, CLAIMS);
    this.#cdiDir = cdiDir;
    this.#driver = driver;
    this.#disk = disk;
  }

  /** All records, including those of other processes of the driver; `unreadable` has the paths of invalid ones. */
  read(): ClaimsOnDisk {
    return readClaims(this.#dir);
  }

  /** Runs `work` under the lock of all processes of the driver. */
  alone<T>(work: () => T): Promise<T> {
    return withLock(join(dirname(this.#dir), ".lock"), work);
  }

  /**
   * Writes a record unless it is there in these words, and nothing else.
   * @throws when the directory cannot be written to
   */
  writeRecord(record: ClaimRecord): void {
    if (textIn(join(this.#dir, `${record.uid}.json`)) === textOf(record)) return;
    this.#disk.makeDirectory(this.#dir, 0o700);
    // A pending record need not survive a power failure: the kubelet has no answer yet and will call again.
    this.#replace(this.#dir, `${record.uid}.json`, record, 0o600, record.state === "prepared");
  }

  /**
   * Writes the CDI file of a record.
   * @returns false when the file already has this content
   */
  writeCdi({ uid, cdi }: ClaimRecord): boolean {
    const text = textOf(cdi);
    if (textIn(this.cdiPath(uid)) === text) return false;
    this.#disk.makeDirectory(this.#cdiDir, 0o755);
    this.#replace(this.#cdiDir, this.#cdiName(uid), cdi, 0o644, false);
    return true;
  }

  /**
   * Removes a claim, the CDI file first: a record without a CDI file is repaired at the next start, the reverse is not.
   */
  remove(uid: string): void {
    if (existsSync(this.cdiPath(uid))) this.#disk.remove(this.cdiPath(uid));
    const path = join(this.#dir, `${uid}.json`);
    if (existsSync(path)) this.#disk.remove(path);
  }

  hasRecord(uid: string): boolean {
    return existsSync(join(this.#dir, `${uid}.json`));
  }

  /** UIDs of the claims that have a CDI file. */
  cdiUids(): readonly string[] {
    const prefix = `${this.#driver}-claim_`;
    return namesIn(this.#cdiDir).filter((name) => name.startsWith(prefix) && name.endsWith(".json"))
      .map((name) => name.slice(prefix.length, -".json".length));
  }

  /** The devices that are named in the CDI file of a claim; null when there is no valid file. */
  cdiDevices(uid: string): readonly string[] | null {
    try {
      const { annotations } = JSON.parse(textIn(this.cdiPath(uid)) ?? "null") as Pick<CdiSpec, "annotations">;
      const devices = annotations?.[DEVICES_ANNOTATION];
      return devices === undefined ? null : devices.split(",");
    } catch {
      return null;
    }
  }

  /** Removes temporary files of processes that were killed. */
  removeLitter(): void {
    for (const dir of [this.#dir, this.#cdiDir]) {
      for (const name of namesIn(dir)) {
        if (name.startsWith(`.${this.#driver}-`) && name.endsWith(".tmp")) this.#disk.remove(join(dir, name));
      }
    }
  }

  cdiPath(uid: string): string {
    return join(this.#cdiDir, this.#cdiName(uid));
  }

  #cdiName(uid: string): string {
    return `${this.#driver}-claim_${uid}.json`;
  }

  #replace(dir: string, name: string, value: object, mode: number, durable: boolean): void {
    // Container runtimes read every *.json in the directory, so a partly written file must have another extension.
    const temporary = join(dir, `.${this.#driver}-${Math.random().toString(36).slice(2)}.tmp`);
    try {
      this.#disk.write(temporary, textOf(value), mode, durable);
      this.#disk.rename(temporary, join(dir, name));
    } catch (error) {
      try {
        this.#disk.remove(temporary);
      } catch {
        // the first error is the one to report
      }
      throw error;
    }
  }
}

/** Whether a text is safe as a file name: UIDs of claims are, and nothing else is accepted. */
export function isUid(text: string): boolean {
  return /^[A-Za-z0-9]([A-Za-z0-9-]{0,126}[A-Za-z0-9])?$/.test(text);
}

/** The content of a directory of records. */
export interface ClaimsOnDisk {
  readonly records: readonly ClaimRecord[];
  /** Paths of invalid records. */
  readonly unreadable: readonly string[];
}

/** The records in a directory; none when the directory does not exist. */
export function readClaims(dir: string): ClaimsOnDisk {
  const records: ClaimRecord[] = [];
  const unreadable: string[] = [];
  for (const name of namesIn(dir)) {
    if (name.startsWith(".") || !name.endsWith(".json")) continue;
    const text = textIn(join(dir, name));
    if (text === null) continue; // removed meanwhile
    const record = parseRecord(text);
    if (record === null) unreadable.push(join(dir, name));
    else records.push(record);
  }
  return { records, unreadable };
}

/** The UID in the path of a record. */
export function uidOfFile(path: string): string {
  return basename(path, ".json");
}

/** Directory with the records of a driver. */
export function claimsDir(pluginsDir: string, driver: string): string {
  return join(pluginsDir, driver, CLAIMS);
}

function parseRecord(text: string): ClaimRecord | null {
  try {
    const value = JSON.parse(text) as Partial<ClaimRecord> | null;
    const whole = value?.version === 1 && typeof value.uid === "string" && Array.isArray(value.devices) &&
      value.devices.every((one) => typeof one.device === "string" && Array.isArray(one.hcas)) &&
      typeof value.cdi === "object";
    return whole ? value as ClaimRecord : null;
  } catch {
    return null;
  }
}

function textOf(value: object): string {
  return `${JSON.stringify(value, null, 1)}\n`;
}
