/**
 * Other programs, run to their end.
 *
 * @module
 */
import { spawnSync } from "node:child_process";

interface RunOptions {
  readonly cwd?: string;
  readonly env?: NodeJS.ProcessEnv;
  /** For its standard input. */
  readonly input?: string;
}

/**
 * Runs a program and gives what it wrote to its standard output.
 *
 * @throws Error with the end of what it said when its status is not 0, or when it cannot be started
 */
export function run(command: string, args: readonly string[], options: RunOptions = {}): string {
  const { status, stdout, stderr, error } = spawnSync(command, args, {
    encoding: "utf8",
    maxBuffer: 1 << 26,
    ...options,
  });
  if (status === 0) return stdout;
  const line = [command, ...args].join(" ");
  const said = error?.message ?? `${stdout}${stderr}`.trim().slice(-3_000);
  throw new Error(`${line.slice(0, 300)}: ${said}`);
}
