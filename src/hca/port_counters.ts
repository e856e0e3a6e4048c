/**
 * Reads the kernel's counters of ports and HCAs on request. Each read may ask the adapter's firmware, so reads are
 * asynchronous and limited: few files at a time, and an HCA that does not answer is skipped until it has.
 *
 * @module
 */
import { readdir } from "node:fs";
import { COUNTER_NAME, NO_COUNTERS } from "./counter_facts.ts";
import { readText } from "./files.ts";
import type { Hca } from "./types.ts";

/** The value of one counter. */
export interface Reading {
  /** `counters` and `hw_counters` of a port, or `hw_counters` of the whole HCA. */
  readonly group: "port" | "port-hw" | "hca-hw";
  /** null for the whole HCA. */
  readonly port: number | null;
  /** File name: "port_xmit_data". */
  readonly name: string;
  /** The content of the file, in its own unit. */
  readonly value: number;
  /** The same in its digits: beyond 2^53 a number cannot hold every count. */
  readonly digits: string;
}

/** Result of reading the counters of the machine. */
export interface CounterReadings {
  readonly hcas: readonly { readonly hca: string; readonly readings: readonly Reading[] }[];
  /** HCAs that did not answer in time, or whose previous answer is still pending. */
  readonly skipped: readonly string[];
  readonly seconds: number;
}

/** Options; tests pass fakes here. */
export interface CounterOptions {
  readonly sysfs: string;
  /** Milliseconds for all counters. */
  readonly deadlineMs?: number;
  /** Files that are read at the same time. Default 8: the runtime reads on 32 threads, and scans need some of them. */
  readonly atOnce?: number;
}

interface CounterFile extends Omit<Reading, "value" | "digits"> {
  readonly path: string;
}

const AT_ONCE = 8;

const NO_COUNTER = new Set(NO_COUNTERS);

/** Reads counters. Concurrent callers share one reading. */
export class PortCounters {
  readonly #sysfs: string;
  readonly #deadlineMs: number;
  readonly #atOnce: number;
  /** HCAs with a pending read, of this reading or an earlier one. */
  readonly #busy = new Set<string>();
  /** Files by HCA. A changed HCA is a new object, and its directories are listed again. */
  readonly #files = new WeakMap<Hca, readonly CounterFile[]>();
  #underway: Promise<CounterReadings> | null = null;

  constructor({ sysfs, deadlineMs = 1_000, atOnce = AT_ONCE }: CounterOptions) {
    this.#sysfs = sysfs;
    this.#deadlineMs = deadlineMs;
    this.#atOnce = atOnce;
  }

  /**
   * Reads counters of these HCAs. Never rejects.
   *
   * @param wanted whether a counter of the HCA is read; without it all are
   */
  read(hcas: readonly Hca[], wanted: (hca: Hca, name: string) => boolean = () => true): Promise<CounterReadings> {
    return this.#underway ??= this.#readAll(hcas, wanted).finally(() => this.#underway = null);
  }

  async #readAll(hcas: readonly Hca[], wanted: (hca: Hca, name: string) => boolean): Promise<CounterReadings> {
    const start = performance.now();
    const queue = hcas.filter((hca) => !this.#busy.has(hca.name));
    const done = new Map<string, readonly Reading[]>();
    let over = false;
    const lane = async () => {
      for (let hca = queue.shift(); hca !== undefined && !over; hca = queue.shift()) {
        this.#busy.add(hca.name);
        const readings = await this.#readHca(hca, wanted, () => over);
        this.#busy.delete(hca.name);
        if (!over) done.set(hca.name, readings);
      }
    };
    // An HCA that hangs keeps its lane, so that the number of threads that wait for firmware stays limited.
    const lanes = Promise.all(Array.from({ length: Math.max(0, this.#atOnce - this.#busy.size) }, lane));
    let timer: ReturnType<typeof setTimeout> | undefined;
    await Promise.race([lanes, new Promise<void>((late) => timer = setTimeout(late, this.#deadlineMs))]);
    clearTimeout(timer);
    over = true;
    return {
      hcas: hcas.flatMap(({ name }) => {
        const readings = done.get(name);
        return readings === undefined ? [] : [{ hca: name, readings }];
      }),
      skipped: hcas.filter(({ name }) => !done.has(name)).map(({ name }) => name),
      seconds: (performance.now() - start) / 1e3,
    };
  }

  async #readHca(
    hca: Hca,
    wanted: (hca: Hca, name: string) => boolean,
    over: () => boolean,
  ): Promise<readonly Reading[]> {
    const files = this.#files.get(hca) ?? await this.#list(hca);
    this.#files.set(hca, files);
    const readings: Reading[] = [];
    for (const { path, group, port, name } of files) {
      if (over()) break;
      if (!wanted(hca, name)) continue;
      const digits = (await readText(path))?.trim() ?? "";
      // Drivers without a PMA report "N/A (no PMA)"; an HCA that was removed meanwhile gives nothing.
      if (/^\d{1,20}$/.test(digits)) readings.push({ group, port, name, value: Number(digits), digits });
    }
    return readings;
  }

  async #list(hca: Hca): Promise<readonly CounterFile[]> {
    const dir = `${this.#sysfs}/class/infiniband/${hca.name}`;
    const places: readonly (readonly [string, Reading["group"], number | null])[] = [
      [`${dir}/hw_counters`, "hca-hw", null],
      ...hca.ports.flatMap(({ number }) => [
        [`${dir}/ports/${number}/counters`, "port", number] as const,
        [`${dir}/ports/${number}/hw_counters`, "port-hw", number] as const,
      ]),
    ];
    const files: CounterFile[] = [];
    for (const [place, group, port] of places) {
      for (const name of await names(place)) files.push({ path: `${place}/${name}`, group, port, name });
    }
    return files;
  }
}

/** Names of the counters in a directory, sorted; none when it cannot be listed. */
function names(dir: string): Promise<readonly string[]> {
  return new Promise((resolve) =>
    readdir(dir, (error, all) => {
      if (error !== null) return resolve([]);
      resolve(all.filter((name) => COUNTER_NAME.test(name) && !NO_COUNTER.has(name)).sort());
    })
  );
}
