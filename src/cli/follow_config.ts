/**
 * Reloads the configuration file after changes: a ConfigMap update swaps a symbolic link, an editor replaces the file,
 * SIGHUP requests a reload. A configuration with mistakes is ignored.
 *
 * @module
 */
import { readFileSync, statSync } from "node:fs";
import { dirname, resolve } from "node:path";
import type { Agent } from "../agent/agent.ts";
import { sentenceOf } from "../config/mistakes.ts";
import { watchDirectory } from "../kubelet/directory_watch.ts";
import type { Log } from "../text/log.ts";
import type { Values } from "./flags.ts";
import { UsageError, wanted } from "./machine.ts";

/** What to follow, and the agent to reconfigure. */
export interface Following {
  readonly values: Values;
  readonly agent: Agent;
  readonly log: Log;
  readonly hangups: EventTarget;
  readonly signal: AbortSignal;
  /** {@link contentOf} before the file was read, because it may have changed since. */
  readonly known: string;
}

/** Reloads when the content of the file changed, until `signal` aborts. */
export function followConfig({ values, agent, log, hangups, signal, known: first }: Following): void {
  const path = resolve(values.config!);
  let known = first;
  let running: Promise<void> | null = null;

  const reload = async (asked: boolean) => {
    const now = contentOf(path);
    if (now === known && !asked) return;
    known = now;
    try {
      const { specs, rescanMs, rescan, warnings } = await wanted(values);
      for (const warning of warnings) log.warn(sentenceOf(warning), { code: warning.code });
      await agent.reconfigure(specs, rescanMs);
      log.info(`configuration ${path} is active`, { resources: specs.length, rescan });
    } catch (error) {
      if (!(error instanceof UsageError)) throw error;
      log.error(`The new configuration ${path} has mistakes and is ignored; the old one stays active`);
      for (const one of error.problems) log.error(sentenceOf(one), { code: one.code });
    }
  };
  const check = (asked: boolean) => {
    running = (running ?? Promise.resolve()).then(() => reload(asked)).catch((error: unknown) =>
      log.error(`Cannot reload ${path}: ${error instanceof Error ? error.message : error}`)
    );
  };
  hangups.addEventListener("hangup", () => check(true), { signal });
  watchDirectory(dirname(path), () => check(false), signal, (sentence) => log.warn(sentence));
  check(false);
}

/**
 * The content, or the error code; only used for comparison. ConfigMaps swap a link, editors rename. What is no file is not
 * opened: a FIFO without a writer would block the process, which no signal could end then.
 */
export function contentOf(path: string): string {
  try {
    return statSync(path).isFile() ? readFileSync(path, "utf8") : "\0no file";
  } catch (error) {
    return `\0${(error as { code?: string }).code}`;
  }
}
