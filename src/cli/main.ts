/**
 * The command-line program: parses arguments, runs the command, converts errors to a sentence and an exit status.
 *
 * @module
 */
import { writeSync } from "node:fs";
import process from "node:process";
import { print } from "../text/print.ts";
import { formatMistakes, type Problem, sentenceOf } from "../config/mistakes.ts";
import { parseCommandLine } from "./flags.ts";
import { helpText } from "./help.ts";
import { UsageError } from "./machine.ts";
import { VERSION } from "./version.ts";

/** Exit status for a command line or configuration that is wrong. */
const USAGE = 2;

/** Runs one command line; returns the exit status: 0 success, 1 failure, 2 wrong usage. */
export async function main(argv: readonly string[]): Promise<number> {
  const parsed = parseCommandLine(argv, process.env);
  if (!parsed.ok) return refuse([parsed]);
  const { command, values, positionals } = parsed;
  if (values.help) return show(helpText());
  try {
    switch (command) {
      case "version":
        return show(`rdma-device-plugin ${VERSION}\n`);
      case "run":
        return await (await import("./run.ts")).run(values);
      case "validate":
        return await (await import("./validate.ts")).validate(positionals[0] ?? values.config, values);
      case "list":
        return await (await import("./list.ts")).listCommand(values);
      case "doctor":
        return await (await import("./doctor.ts")).doctorCommand(values);
      case "fleet":
        return await (await import("./fleet.ts")).fleetCommand(values);
    }
  } catch (error) {
    if (error instanceof UsageError) return refuse(error.problems, values["log-format"] === "json");
    writeSync(2, `rdma-device-plugin: ${error instanceof Error ? error.stack ?? error.message : String(error)}\n`);
    return 1;
  }
}

function show(text: string): number {
  print(text);
  return 0;
}

/** One line for each, as the log writes them when it is JSON. */
async function refuse(problems: readonly Problem[], json = false): Promise<number> {
  if (json) {
    const log = (await import("../text/log.ts")).openLog("error", "json");
    for (const one of problems) log.error(sentenceOf(one), { code: one.code });
  } else writeSync(2, `${formatMistakes(problems)}\n`);
  return USAGE;
}
