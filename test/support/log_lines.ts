/**
 * A log that a test reads and waits on.
 *
 * @module
 */
import { Waits } from "../../sim/waits.ts";
import type { Log } from "../../src/text/log.ts";

export class LogLines {
  /** Messages of all levels, oldest first. */
  readonly lines: string[] = [];
  readonly #waits = new Waits();

  /** What the parts under test write to. */
  readonly log: Log = { debug: this.#add, info: this.#add, warn: this.#add, error: this.#add };

  /** Resolves with the first line that matches. */
  logged(pattern: RegExp): Promise<string> {
    const message = (reason: string) =>
      `Cannot see ${pattern} in the log: ${reason}. It ends with:\n${this.lines.slice(-20).join("\n")}`;
    return this.#waits.until(() => this.lines.find((line) => pattern.test(line)), message);
  }

  get #add(): (message: string) => void {
    return (message) => {
      this.lines.push(message);
      this.#waits.changed();
    };
  }
}
