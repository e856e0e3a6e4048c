/**
 * Logs failed scans: once per reason, and once when scans succeed again.
 *
 * @module
 */
import { OutOfFiles } from "../hca/files.ts";
import type { Log } from "../text/log.ts";

/** One reason for all files that could not be opened. */
const OUT_OF_FILES = "out of files";

export class ScanFailures {
  readonly #log: Log;
  /** Why the last scan failed; null when it did not. */
  #reason: string | null = null;

  constructor(log: Log) {
    this.#log = log;
  }

  /** Logs a failure; the stack only for unexpected errors. */
  failed(error: unknown): void {
    const foreseen = error instanceof OutOfFiles;
    const text = error instanceof Error ? (foreseen ? null : error.stack) ?? error.message : String(error);
    const reason = foreseen ? OUT_OF_FILES : text;
    this.#log[reason === this.#reason ? "debug" : "error"](
      `A scan of the machine failed; the previous devices stay offered and the scan will be retried: ${text}`,
    );
    this.#reason = reason;
  }

  /**
   * Called after a successful scan.
   *
   * @returns true after a shortage of files: sockets must be probed then, because a Deno listener that had no file for
   *   a connection never accepts another one, and no event shows that
   */
  succeeded(): boolean {
    if (this.#reason === null) return false;
    const wereOut = this.#reason === OUT_OF_FILES;
    this.#reason = null;
    this.#log.info("scans of the machine succeed again");
    return wereOut;
  }
}
