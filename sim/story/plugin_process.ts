/**
 * The real plugin as a process between the fake host and the fake kubelet.
 *
 * @module
 */
import { type ChildProcess, spawn } from "node:child_process";
import process, { execPath } from "node:process";
import { fileURLToPath } from "node:url";
import type { FakeHost } from "../host/host.ts";

const MOD = fileURLToPath(new URL("../../mod.ts", import.meta.url));
const CONFIG = fileURLToPath(new URL("../../deno.json", import.meta.url));

/** Flags that put a plugin on a fake host and a fake kubelet. */
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
  ];
}

/** The command a person types to start the same plugin by hand. */
export function commandLine(flags: readonly string[]): string {
  return ["deno", "run", "-A", MOD, ...flags].map((word) => /^[\w./:=-]+$/.test(word) ? word : JSON.stringify(word))
    .join(" ");
}

/** How a process ended. */
export interface Ended {
  readonly code: number | null;
  readonly signal: string | null;
}

/** One plugin process and what it logged. */
export class PluginProcess {
  readonly ended: Promise<Ended>;
  readonly #child: ChildProcess;
  readonly #lines: string[] = [];
  readonly #watchers = new Set<() => void>();
  #running = true;

  /** @param onLine gets every line of the log as it comes */
  constructor(flags: readonly string[], onLine: (line: string) => void = () => {}, runtime: readonly string[] = []) {
    this.#child = spawn(
      execPath,
      ["run", "-A", "--quiet", "--no-check", "--config", CONFIG, ...runtime, MOD, ...flags],
      {
        stdio: ["ignore", "pipe", "pipe"],
      },
    );
    let rest = "";
    const take = (chunk: Uint8Array) => {
      const parts = (rest + new TextDecoder().decode(chunk)).split("\n");
      rest = parts.pop() ?? "";
      for (const line of parts) {
        this.#lines.push(line);
        onLine(line);
      }
      for (const look of this.#watchers) look();
    };
    this.#child.stdout?.on("data", take);
    this.#child.stderr?.on("data", take);
    this.ended = new Promise((resolve) => {
      const end = (code: number | null, signal: string | null) => {
        this.#running = false;
        resolve({ code, signal });
      };
      this.#child.once("exit", () => this.#running = false);
      this.#child.once("close", end);
      this.#child.once("error", () => end(null, null));
    });
  }

  get pid(): number {
    return this.#child.pid ?? -1;
  }

  /** Everything it has logged, a string a line. */
  get log(): readonly string[] {
    return this.#lines;
  }

  /** Sends a signal; one that has ended takes none. */
  kill(signal: NodeJS.Signals): void {
    // ChildProcess.kill() of this runtime delivers the first signal only, and takes it for the end of the process.
    if (this.#running) process.kill(this.pid, signal);
  }

  /** Resolves when a line of the log matches; rejects with the log when the process ends first or time is up. */
  async logged(pattern: RegExp, timeoutMs = 20_000): Promise<string> {
    let look = () => {};
    let timer: ReturnType<typeof setTimeout> | undefined;
    const why = (what: string) =>
      new Error(`${what} while waiting for ${pattern} in the plugin's log, which reads:\n${this.#lines.join("\n")}`);
    try {
      return await new Promise<string>((resolve, reject) => {
        look = () => {
          const line = this.#lines.find((one) => pattern.test(one));
          if (line !== undefined) resolve(line);
        };
        this.#watchers.add(look);
        look();
        timer = setTimeout(() => reject(why("time was up")), timeoutMs);
        void this.ended.then(() => {
          look();
          reject(why("the plugin ended"));
        });
      });
    } finally {
      clearTimeout(timer);
      this.#watchers.delete(look);
    }
  }

  /** Ends it, gently first. */
  async stop(): Promise<Ended> {
    this.kill("SIGTERM");
    const timer = setTimeout(() => this.kill("SIGKILL"), 5_000);
    const ended = await this.ended;
    clearTimeout(timer);
    return ended;
  }
}
