/**
 * Programs of the guest, run with a deadline: what hangs there must fail here.
 *
 * @module
 */
import { type ChildProcess, spawn } from "node:child_process";
import { once } from "node:events";
import process from "node:process";
import { within } from "../support/temp.ts";

/** A program that ended, or was ended. */
export interface Ran {
  readonly command: string;
  readonly status: number | null;
  readonly stdout: string;
  readonly stderr: string;
  /** Milliseconds from start to end. */
  readonly took: number;
}

/** A program under way. */
export interface Running {
  readonly child: ChildProcess;
  /** Resolves at the end, with whatever status. */
  readonly ended: Promise<Ran>;
}

/** Starts a program and collects what it says. */
export function start(command: readonly string[], env: Readonly<Record<string, string>> = {}): Running {
  const begun = performance.now();
  const [program = "", ...args] = command;
  const child = spawn(program, args, { stdio: ["ignore", "pipe", "pipe"], env: { ...process.env, ...env } });
  let stdout = "", stderr = "";
  child.stdout?.on("data", (bytes: unknown) => stdout += String(bytes));
  child.stderr?.on("data", (bytes: unknown) => stderr += String(bytes));
  const ended = once(child, "close").then(([status]): Ran => ({
    command: command.join(" "),
    status: status as number | null,
    stdout,
    stderr,
    took: performance.now() - begun,
  }));
  return { child, ended };
}

/**
 * Waits for a program.
 * @throws {Error} when it has not ended in time; it is killed, which a process that hangs in the kernel survives
 */
export async function finished(running: Running, limitMs = 10_000): Promise<Ran> {
  const command = running.child.spawnargs.join(" ");
  return await within(running.ended, `the end of ${command}`, limitMs).finally(() => running.child.kill("SIGKILL"));
}

/**
 * Runs a command line (words without quotes) that has to succeed.
 * @throws {Error} with its words when it fails or hangs
 */
export async function must(line: string, limitMs?: number): Promise<Ran> {
  return succeeded(await finished(start(line.split(" ")), limitMs));
}

/** @throws {Error} with the program's words when its status was not 0 */
export function succeeded(ran: Ran): Ran {
  if (ran.status !== 0) throw new Error(`${ran.command} ended with status ${ran.status}: ${ran.stderr}${ran.stdout}`);
  return ran;
}

/** Whether a file descriptor holds on to an HCA: one of its nodes, or the event file of a verbs context. */
export function isVerbs(descriptor: string): boolean {
  return /^\/dev\/infiniband\/|^anon_inode:.*infiniband/.test(descriptor);
}
