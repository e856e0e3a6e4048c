/**
 * `deno task sim`: plays a scenario on a node with the real plugin, a fake host and a fake kubelet.
 *
 * @module
 */
import process from "node:process";
import { parseArgs, styleText } from "@std/cli";
import { commandLine } from "./story/plugin_process.ts";
import { play, type Played } from "./story/play.ts";
import { builtIn, loadScenario } from "./story/scenario.ts";
import { Stage } from "./story/stage.ts";
import { inOneLine } from "./kubelet/format.ts";

const HELP = `deno task sim [--scenario NAME|FILE] [--all] [--json] [--verbose] [--keep] [--list]
  --scenario NAME|FILE  which story to play (default: story)
  --all                 all built-in stories, one after the other
  --list                the built-in stories
  --json                one JSON object a step, for machines
  --verbose             the plugin's log between the steps
  --keep                leave the fake host and kubelet up, for a plugin started by hand
`;

const FLAGS = {
  scenario: { type: "string", default: "story" },
  all: { type: "boolean", default: false },
  list: { type: "boolean", default: false },
  json: { type: "boolean", default: false },
  verbose: { type: "boolean", default: false },
  keep: { type: "boolean", default: false },
  help: { type: "boolean", default: false },
} as const;

type Values = ReturnType<typeof parseArgs<{ options: typeof FLAGS }>>["values"];

async function main(): Promise<number> {
  let values: Values;
  try {
    values = parseArgs({ args: process.argv.slice(2), options: FLAGS }).values;
  } catch (error) {
    process.stderr.write(`${(error as Error).message}\n${HELP}`);
    return 2;
  }
  if (values.help) return say(HELP, 0);
  if (values.list) return say(builtIn().map(({ name, title }) => `${name.padEnd(16)} ${title}\n`).join(""), 0);
  const names = values.all ? builtIn().map((one) => one.name) : [values.scenario];
  for (const name of names) {
    const status = await playOne(name, values);
    if (status !== 0) return status;
  }
  return 0;
}

async function playOne(name: string, values: Values): Promise<number> {
  let scenario;
  try {
    scenario = loadScenario(name);
  } catch (error) {
    process.stderr.write(`${(error as Error).message}\n`);
    return 2;
  }
  const log: string[] = [];
  const stage = await Stage.set(scenario, (line) => {
    log.push(line);
    if (values.verbose && !values.json) process.stdout.write(styled("dim", `    | ${line}\n`));
  });
  // An interrupted scenario leaves no process and no directory behind.
  const interrupted = Promise.withResolvers<void>();
  const interrupt = () => interrupted.resolve();
  process.once("SIGINT", interrupt);
  process.once("SIGTERM", interrupt);
  try {
    if (!values.json) say(styled("bold", `${scenario.title}\n`), 0);
    const start = performance.now();
    const tell = (played: Played) => say(values.json ? json(name, played) : text(played), 0);
    const good = await Promise.race([play(scenario, stage, tell), interrupted.promise.then(() => false)]);
    if (!good && !values.json) {
      say(`The plugin's log ends with:\n${log.slice(-15).map((line) => `    | ${line}\n`).join("")}`, 0);
    }
    const seconds = ((performance.now() - start) / 1e3).toFixed(1);
    if (good && !values.json) say(`${scenario.steps.length} steps in ${seconds} s, all as expected.\n\n`, 0);
    if (good && values.keep) await keep(stage, interrupted.promise);
    return good ? 0 : 1;
  } finally {
    process.off("SIGINT", interrupt);
    process.off("SIGTERM", interrupt);
    await stage.close();
  }
}

/** Keeps the stage for a plugin that is started by hand, and prints what the kubelet sees, until Ctrl-C. */
async function keep(stage: Stage, interrupted: Promise<void>): Promise<void> {
  await stage.plugin?.stop();
  stage.plugin = null;
  if (!stage.kubelet.state().running) await stage.kubelet.start();
  const level = stage.flags.includes("--log-level") ? [] : ["--log-level", "debug"];
  say(
    `The fake host and kubelet stay up. In another terminal:\n\n  ${commandLine([...stage.flags, ...level])}\n\n` +
      `The host's tree is ${stage.host.root}; press Ctrl-C to stop.\n`,
    0,
  );
  let printed = stage.kubelet.history.length;
  let going = true;
  void interrupted.then(() => going = false);
  while (going) {
    // Ends with the next event of the kubelet, or after a minute without one.
    const next = stage.kubelet.waitFor(() => stage.kubelet.history.length > printed, { timeoutMs: 60_000 }).catch(
      () => {},
    );
    await Promise.race([next, interrupted]);
    for (const event of stage.kubelet.history.slice(printed)) say(`  kubelet: ${inOneLine(event)}\n`, 0);
    printed = stage.kubelet.history.length;
  }
}

function text({ say: sentence, ok, ms, saw, fault }: Played): string {
  const mark = ok ? styled("green", "✓") : styled("red", "✗");
  const lines = [`${mark} ${sentence} ${styled("dim", `(${Math.round(ms)} ms)`)}`, ...saw.map((line) => `    ${line}`)];
  if (fault !== null) lines.push(styled("red", `    ${fault}`));
  return `${lines.join("\n")}\n`;
}

function json(scenario: string, played: Played): string {
  return `${JSON.stringify({ scenario, ...played, ms: Math.round(played.ms * 10) / 10 })}\n`;
}

function styled(style: Parameters<typeof styleText>[0], words: string): string {
  return process.stdout.isTTY ? styleText(style, words) : words;
}

function say(words: string, status: number): number {
  process.stdout.write(words);
  return status;
}

if (import.meta.main) process.exit(await main());
