/**
 * The real plugin as a process of the guest, and its log as values.
 *
 * @module
 */
import { type ChildProcess, spawn } from "node:child_process";
import { once } from "node:events";
import process from "node:process";
import { createInterface } from "node:readline";
import { Waits } from "../../sim/waits.ts";

/** One line of the plugin's log. */
export interface LogLine {
  readonly level: string;
  readonly message: string;
  /** Device changes that a scan led to; on the lines that report looks. */
  readonly changes?: number;
}

export class Plugin {
  readonly #child: ChildProcess;
  readonly #lines: LogLine[] = [];
  readonly #waits = new Waits();
  readonly #ended: Promise<number | null>;

  /** Starts it with events from the kernel as the only reason to look: the timer would come after ten minutes. */
  constructor(flags: readonly string[]) {
    const fixed = ["--log-level", "debug", "--log-format", "json", "--rescan", "600", "--registration", "socket"];
    this.#child = spawn(process.execPath, [
      ...["run", "-A", "--no-check", "--cached-only", "mod.ts", ...fixed, ...flags],
    ], { stdio: ["ignore", "inherit", "pipe"] });
    this.#ended = once(this.#child, "exit").then(([status]) => status as number | null);
    if (this.#child.stderr === null) throw new Error("The plugin's log cannot be read: it has no standard error");
    createInterface({ input: this.#child.stderr }).on("line", (line: string) => this.#note(line));
  }

  get pid(): number {
    return this.#child.pid ?? 0;
  }

  /** The log so far. */
  get log(): readonly LogLine[] {
    return this.#lines;
  }

  /** "link", "uevent", …: what the scans of the log from line `since` were made for, oldest first. */
  causes(since = 0): readonly string[] {
    return this.#lines.slice(since).flatMap(({ message }) =>
      message.match(/^scanned \(\w+\) because of (.*)$/)?.[1] ?? []
    );
  }

  /**
   * The first log line from number `since` on that `wanted` holds for.
   * @throws {Error} with the last lines when there is none in time
   */
  logged(what: string, wanted: (line: LogLine) => boolean, since = 0, limitMs = 10_000): Promise<LogLine> {
    const message = (reason: string) => {
      const last = this.#lines.slice(-6).map((line) => line.message).join(" | ");
      return `Cannot see ${what} in the plugin's log: ${reason}; it ends with: ${last}`;
    };
    return this.#waits.until(() => this.#lines.slice(since).find(wanted), message, limitMs);
  }

  signal(name: "SIGSTOP" | "SIGCONT"): void {
    process.kill(this.pid, name);
  }

  /** Ends it as the kubelet ends a pod's container; gives the exit status. */
  async stop(limitMs = 5_000): Promise<number | null> {
    // Not by child.kill(): Deno then reports the signal as the cause of the end, whatever status the process ended with.
    process.kill(this.pid, "SIGTERM");
    const hurry = setTimeout(() => this.#child.kill("SIGKILL"), limitMs);
    const status = await this.#ended;
    clearTimeout(hurry);
    return status;
  }

  #note(line: string): void {
    process.stderr.write(`plugin: ${line}\n`);
    let parsed: LogLine = { level: "none", message: line };
    try {
      parsed = JSON.parse(line) as LogLine;
    } catch {
      // a stack trace or a warning of the runtime: kept as it is
    }
    this.#lines.push(parsed);
    this.#waits.changed();
  }
}
