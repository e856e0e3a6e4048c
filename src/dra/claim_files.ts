/**
 * Claims on disk: a record for each claim in the driver's directory, and the CDI file that is made of it. A record is there
 * before anything is answered, so whoever is killed at any moment, and whoever takes over, knows what is held.
 *
 * @module
 */
import {
  closeSync,
  existsSync,
  fsyncSync,
  mkdirSync,
  openSync,
  readdirSync,
  readFileSync,
  renameSync,
  rmSync,
  writeFileSync,
} from "node:fs";
import { basename, dirname, join } from "node:path";
import type { CdiSpec } from "../pool/cdi.ts";
import { DEVICES_ANNOTATION } from "./claim_cdi.ts";
import { withLock } from "./claim_lock.ts";
import type { ClaimRecord } from "./claim_record.ts";

/** The writing operations, so that a test can end the process between any two of them. */
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

  /** Every record, also those of another process; one that cannot be read is named in `unreadable`. */
  read(): ClaimsOnDisk {
    return readClaims(this.#dir);
  }

  /** Runs `work` while no other process of the driver runs its own. */
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
    // What is pending has not been answered: when the machine dies the kubelet asks again.
    this.#replace(this.#dir, `${record.uid}.json`, record, 0o600, record.state === "prepared");
  }

  /** Writes the CDI file of a record unless it is there in these words. */
  writeCdi({ uid, cdi }: ClaimRecord): boolean {
    const text = textOf(cdi);
    if (textIn(this.cdiPath(uid)) === text) return false;
    this.#disk.makeDirectory(this.#cdiDir, 0o755);
    this.#replace(this.#cdiDir, this.#cdiName(uid), cdi, 0o644, false);
    return true;
  }

  /** Forgets a claim. The CDI file goes first: a record without one is repaired at the next start, one without a record is not. */
  remove(uid: string): void {
    if (existsSync(this.cdiPath(uid))) this.#disk.remove(this.cdiPath(uid));
    const path = join(this.#dir, `${uid}.json`);
    if (existsSync(path)) this.#disk.remove(path);
  }

  hasRecord(uid: string): boolean {
    return existsSync(join(this.#dir, `${uid}.json`));
  }

  /** UIDs that have a CDI file. */
  cdiUids(): readonly string[] {
    const prefix = `${this.#driver}-claim_`;
    return namesIn(this.#cdiDir).filter((name) => name.startsWith(prefix) && name.endsWith(".json"))
      .map((name) => name.slice(prefix.length, -".json".length));
  }

  /** Devices that the CDI file of a claim is for; null when there is no such file, or none that says so. */
  cdiDevices(uid: string): readonly string[] | null {
    try {
      const { annotations } = JSON.parse(textIn(this.cdiPath(uid)) ?? "null") as Pick<CdiSpec, "annotations">;
      const devices = annotations?.[DEVICES_ANNOTATION];
      return devices === undefined ? null : devices.split(",");
    } catch {
      return null;
    }
  }

  /** Half-written files of processes that were killed. */
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
    // Runtimes read every *.json in the directory, so a half-written file must have another name.
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

/** UIDs are made by the API server and become file names here: anything else is refused before it is one. */
export function isUid(text: string): boolean {
  return /^[A-Za-z0-9]([A-Za-z0-9-]{0,126}[A-Za-z0-9])?$/.test(text);
}

/** What a directory of records has. */
export interface ClaimsOnDisk {
  readonly records: readonly ClaimRecord[];
  /** Paths. */
  readonly unreadable: readonly string[];
}

/** The records in a directory; none when there is no such directory. */
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

/** The UID of the claim that a record's path is for. */
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

function textIn(path: string): string | null {
  try {
    return readFileSync(path, "utf8");
  } catch {
    return null;
  }
}

function namesIn(dir: string): readonly string[] {
  try {
    return readdirSync(dir).sort();
  } catch {
    return [];
  }
}
