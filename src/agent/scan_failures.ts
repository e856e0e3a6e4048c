/**
 * What a failed scan means to the operator: logged once for each reason, and once more when scans succeed again.
 *
 * @module
 */
import { OutOfFiles } from "../hca/files.ts";
import type { Log } from "../text/log.ts";

/** One reason, whichever file it was that could not be opened. */
const OUT_OF_FILES = "out of files";

export class ScanFailures {
  readonly #log: Log;
  /** Why the last scan failed; null when it did not. */
  #reason: string | null = null;

  constructor(log: Log) {
    this.#log = log;
  }

  /** A stack is printed only for what was not foreseen. */
  failed(error: unknown): void {
    const foreseen = error instanceof OutOfFiles;
    const text = error instanceof Error ? (foreseen ? null : error.stack) ?? error.message : String(error);
    const reason = foreseen ? OUT_OF_FILES : text;
    this.#log[reason === this.#reason ? "debug" : "error"](
      `A scan of the machine failed; what was offered before stays offered, and the scan is retried: ${text}`,
    );
    this.#reason = reason;
  }

  /**
   * A scan succeeded.
   *
   * @returns true when files had run out before: sockets have to be probed then, because a listener of this runtime
   *   that found no file for a connection never accepts another one, and there is no event that says so
   */
  succeeded(): boolean {
    if (this.#reason === null) return false;
    const wereOut = this.#reason === OUT_OF_FILES;
    this.#reason = null;
    this.#log.info("the machine can be scanned again");
    return wereOut;
  }
}
