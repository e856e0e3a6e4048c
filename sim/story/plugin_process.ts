/**
 * The real plugin as a process between the fake host and the fake kubelet.
 *
 * @module
 */
import { type ChildProcess, spawn } from "node:child_process";
import process, { execPath } from "node:process";
import { fileURLToPath } from "node:url";
import type { FakeHost } from "../host/host.ts";
import { Waits } from "../waits.ts";

const MOD = fileURLToPath(new URL("../../mod.ts", import.meta.url));
const CONFIG = fileURLToPath(new URL("../../deno.json", import.meta.url));

/**
 * Flags that make a plugin use a fake host and a fake kubelet. It scans so seldom without an event that the loss of one
 * is noticed: who waits for a change gives up before.
 */
export function pluginFlags(host: FakeHost, kubeletDir: string): readonly string[] {
  return [
    "--kubelet-dir",
    kubeletDir,
    "--sysfs-root",
    host.sysfsRoot,
    "--dev-root",
    host.devRoot,
    "--events",
    host.eventsFile,
    "--rescan",
    "300",
  ];
}

/** The command to start the same plugin by hand. */
export function commandLine(flags: readonly string[]): string {
  return ["deno", "run", "-A", MOD, ...flags].map((word) => /^[\w./:=-]+$/.test(word) ? word : JSON.stringify(word))
    .join(" ");
}

/** How a process ended. */
export interface Ended {
  readonly code: number | null;
  readonly signal: string | null;
}

/** The command that runs the plugin of these sources; flags of the plugin follow. */
export function pluginCommand(...runtime: readonly string[]): readonly string[] {
  return [execPath, "run", "-A", "--quiet", "--no-check", "--config", CONFIG, ...runtime, MOD];
}

/** Starts the plugin of these sources. */
export function startPlugin(flags: readonly string[], onLine?: (line: string) => void): PluginProcess {
  return new PluginProcess([...pluginCommand(), ...flags], { onLine });
}

/** A process that is the plugin, however it is started, and its log: what it writes to either stream. */
export class PluginProcess implements AsyncDisposable {
  readonly ended: Promise<Ended>;
  readonly #child: ChildProcess;
  readonly #lines: string[] = [];
  readonly #waits = new Waits();
  #running = true;

  /** @param options.onLine called with every line of the log */
  constructor(
    command: readonly string[],
    { onLine = () => {}, env = process.env }: {
      readonly onLine?: ((line: string) => void) | undefined;
      readonly env?: NodeJS.ProcessEnv;
    } = {},
  ) {
    const [program = "", ...args] = command;
    this.#child = spawn(program, args, { stdio: ["ignore", "pipe", "pipe"], env });
    let rest = "";
    const take = (chunk: Uint8Array) => {
      const parts = (rest + new TextDecoder().decode(chunk)).split("\n");
      rest = parts.pop() ?? "";
      for (const line of parts) {
        this.#lines.push(line);
        onLine(line);
      }
      this.#waits.changed();
    };
    this.#child.stdout?.on("data", take);
    this.#child.stderr?.on("data", take);
    this.ended = new Promise((resolve) => {
      const end = (code: number | null, signal: string | null) => {
        this.#running = false;
        this.#waits.end("the plugin ended");
        resolve({ code, signal });
      };
      this.#child.once("exit", () => this.#running = false);
      this.#child.once("close", end);
      this.#child.once("error", (error) => {
        this.#lines.push(String(error));
        end(null, null);
      });
    });
  }

  get pid(): number {
    return this.#child.pid ?? -1;
  }

  /** The lines of its log. */
  get log(): readonly string[] {
    return this.#lines;
  }

  /** Sends a signal, unless the process has ended. */
  kill(signal: NodeJS.Signals): void {
    // Deno's ChildProcess.kill() only delivers the first signal and takes it for the end of the process.
    if (this.#running) process.kill(this.pid, signal);
  }

  /** Resolves when a line of the log matches; rejects with the log when the process ends first or after `timeoutMs`. */
  logged(pattern: RegExp, timeoutMs?: number): Promise<string> {
    const message = (reason: string) =>
      `Cannot see ${pattern} in the plugin's log: ${reason}. The log reads:\n${this.#lines.join("\n")}`;
    return this.#waits.until(() => this.#lines.find((line) => pattern.test(line)), message, timeoutMs);
  }

  /** Stops it, with SIGTERM first. */
  async stop(): Promise<Ended> {
    this.kill("SIGTERM");
    const timer = setTimeout(() => this.kill("SIGKILL"), 30_000);
    const ended = await this.ended;
    clearTimeout(timer);
    return ended;
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.stop();
  }
}
