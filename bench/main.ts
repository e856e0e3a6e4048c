/**
 * Every figure of the plugin in one run, beside another plugin's:
 *
 *     deno task bench [--quick] [--runs 5] [--json FILE] [--write] [--against COMMAND|SOCKET] [--floor]
 *       [--image-store DIR]
 *
 * The plugin is the bundle as the image runs it, between a fake host and a kubelet on grpc-go (on grpc-js where there is
 * no Go). In turns with it comes the least that a plugin in Go can be (bench/reference), or whatever `--against`, once
 * or several times, names: a command, in which `{kubelet}`, `{sysfs}` and `{dev}` become directories, or the socket of a
 * plugin that runs. The command's first word may be a directory with a Go module or a module's name (`path@version`),
 * which is built first.
 * `--floor` adds two servers that show what of a call is the runtime's and the gRPC library's.
 *
 * `--quick` does a little of everything: it shows that the figures can be had, not what they are. The status is 1 when
 * one is not there, or a count is not what it must be. `--write` puts the table, and how it stands to the
 * targets, into docs/performance.md.
 *
 * @module
 */
import { spawnSync } from "node:child_process";
import { lstatSync, mkdtempSync, rmSync, statSync, writeFileSync } from "node:fs";
import { cpus, release, tmpdir, totalmem } from "node:os";
import { dirname, join } from "node:path";
import process, { execPath } from "node:process";
import { fileURLToPath } from "node:url";
import { parseArgs } from "node:util";
import { bundle, PROGRAM } from "../test/support/bundle.ts";
import { writeCodeCache } from "../test/support/code_cache.ts";
import { ImageBuilder, missingTools } from "../test/support/image_builder.ts";
import { built } from "./against.ts";
import type { EventFigures } from "./events.ts";
import { Figures, markdown, mistakes, PLUGIN, summarize, table } from "./figure.ts";
import { floors } from "./floor.ts";
import { functions } from "./functions.ts";
import { bestClient } from "./kubelet.ts";
import { writeSection } from "../test/support/section.ts";
import { longList, looks, manyResources, resources } from "./scaling.ts";
import { type Effort, serving } from "./serving.ts";
import { targetsTable } from "./targets.ts";
import { byCommand, bySocket, plugin, reference, type Subject, V8_FLAGS } from "../test/support/subject.ts";

/** How much is done in one run. */
interface Amount extends Effort {
  /** Scans of each host. */
  readonly looks: number;
  /** Link events, and the HCAs they happen to. An hour of a flap a second is 3,600. */
  readonly flaps: number;
  readonly flapping: number;
}

const FULL: Amount = {
  starts: 7,
  warmUp: 1_000,
  turns: 6,
  calls: 1_000,
  restarts: 5,
  restSeconds: 10,
  looks: 30,
  flaps: 3_600,
  flapping: 64,
};
const QUICK: Amount = {
  starts: 1,
  warmUp: 100,
  turns: 1,
  calls: 500,
  restarts: 1,
  restSeconds: 1,
  looks: 3,
  flaps: 32,
  flapping: 16,
};

const { values: options } = parseArgs({
  options: {
    quick: { type: "boolean", default: false },
    runs: { type: "string" },
    json: { type: "string" },
    against: { type: "string", multiple: true, default: [] },
    write: { type: "boolean", default: false },
    floor: { type: "boolean", default: false },
    "image-store": { type: "string" },
  },
});

function say(sentence: string): void {
  process.stderr.write(`${sentence}\n`);
}

/** Whom the plugin is measured against; nobody where there is no Go. */
function rivals(dir: string): readonly Subject[] {
  const { against, floor } = options;
  const rest = floor ? floors() : [];
  if (against.length > 0) {
    const others = against.map((word, n) =>
      isSocket(word) ? bySocket(word) : byCommand(built(word, join(dir, `other-${n}`), say))
    );
    // "other" alone, and by their place where there are several.
    return [...others.map((one, n) => others.length === 1 ? one : { ...one, name: `other ${n + 1}` }), ...rest];
  }
  try {
    return [reference(dir), ...rest];
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code !== "ENOENT") throw error;
    say("no Go here: the plugin is measured alone, through a kubelet on grpc-js");
    return rest;
  }
}

function isSocket(word: string): boolean {
  return lstatSync(word, { throwIfNoEntry: false })?.isSocket() ?? false;
}

/** Link events of a real kernel, in a network namespace of their own; by a process, which is what can be put into one. */
function churn({ flaps, flapping }: Amount, figures: Figures): void {
  const script = fileURLToPath(new URL("events.ts", import.meta.url));
  const args = ["--json", "--events", String(flaps), "--hcas", String(flapping), "--pause", "7"];
  const run = spawnSync(execPath, ["run", "-A", "--quiet", "--no-check", script, ...args], { encoding: "utf8" });
  if (run.status !== 0) {
    const why = `no network namespace with links of its own: ${run.stderr.trim().split("\n")[0]}`;
    for (const prefix of ["event.", "memory.churn."]) figures.leaveOut(prefix, why);
    return;
  }
  const { p50, p99, max, rss, anonymous } = JSON.parse(run.stdout) as EventFigures;
  for (const [part, value] of Object.entries({ p50, p99, max })) figures.add(PLUGIN, `event.${part}`, value);
  for (const [part, value] of Object.entries({ rss, anonymous })) figures.add(PLUGIN, `memory.churn.${part}`, value);
}

function sizes(bundled: string, figures: Figures): void {
  figures.add(PLUGIN, "bundle.bytes", statSync(join(dirname(bundled), PROGRAM)).size);
  figures.add(PLUGIN, "runtime.bytes", statSync(execPath).size);
  const given = options["image-store"];
  if (given !== undefined) {
    figures.add(PLUGIN, "image.bytes", new ImageBuilder(given, say).bytes("amd64"));
    return;
  }
  const missing = missingTools(["amd64"]);
  if (options.quick || missing.length > 0) {
    figures.leaveOut("image.", options.quick ? "needs --image-store with --quick" : missing.join("; "));
    return;
  }
  const store = mkdtempSync(join(tmpdir(), "rdma-store-"));
  try {
    const builder = new ImageBuilder(store, say);
    builder.build("amd64");
    figures.add(PLUGIN, "image.bytes", builder.bytes("amd64"));
  } finally {
    ImageBuilder.remove(store);
  }
}

async function main(): Promise<number> {
  const amount = options.quick ? QUICK : FULL;
  const runs = Number(options.runs ?? (options.quick ? 1 : 5));
  if (!Number.isInteger(runs) || runs < 1) {
    say(`--runs is ${options.runs}, but takes a whole number from 1`);
    return 2;
  }
  const dir = mkdtempSync(join(tmpdir(), "rdma-bench-"));
  const figures = new Figures();
  try {
    const bundled = await bundle(join(dir, "bundle"));
    await writeCodeCache(dirname(bundled));
    const client = await bestClient();
    const ours = plugin(bundled);
    const subjects = [ours, ...rivals(dir)];
    for (let run = 0; run < runs; run++) {
      say(`run ${run + 1} of ${runs}`);
      // Who begins has a colder machine: they take turns at that as well.
      const order = [...subjects.slice(run % subjects.length), ...subjects.slice(0, run % subjects.length)];
      await serving(order, client, amount, figures);
      await looks(amount.looks, figures);
      await resources(amount.looks, figures);
      await manyResources(ours, client, figures);
      await longList(amount.looks, figures);
      if (!options.quick) await functions(ours, client, figures);
    }
    if (options.quick) figures.leaveOut("functions.", "a host with so many takes a minute: not with --quick");
    churn(amount, figures);
    sizes(bundled, figures);
    const wrong = mistakes(figures);
    report(client.name, runs, figures, wrong);
    return wrong.length === 0 ? 0 : 1;
  } finally {
    rmSync(dir, { recursive: true, force: true });
  }
}

function report(client: string, runs: number, figures: Figures, wrong: readonly string[]): void {
  const [processor] = cpus();
  const machine = {
    processor: processor?.model ?? "unknown",
    processors: cpus().length,
    memory: totalmem(),
    kernel: release(),
    deno: Deno.version.deno,
    v8: Deno.version.v8,
    v8Flags: V8_FLAGS,
    client,
  };
  const gigabytes = (machine.memory / 2 ** 30).toFixed(0);
  const title = `${machine.processors} × ${machine.processor}, ${gigabytes} GiB, Linux ${machine.kernel}, ` +
    `Deno ${machine.deno}; Allocate by ${client}; ${runs} ${runs === 1 ? "run" : "runs"}`;
  process.stdout.write([
    `${title}\n`,
    table(figures.all),
    ...Object.entries(figures.leftOut).map(([id, why]) => `left out: ${id}: ${why}\n`),
    ...wrong.map((sentence) => `WRONG: ${sentence}\n`),
  ].join(""));
  const [other = null] = new Set(figures.all.map((one) => one.of).filter((name) => name !== PLUGIN));
  const targets = targetsTable(figures.all, other);
  process.stdout.write(`\n${targets}`);
  if (options.write) {
    writeSection("docs/performance.md", "figures", `${title}.\n\n${markdown(figures.all)}`);
    writeSection("docs/performance.md", "targets", targets);
  }
  if (options.json === undefined) return;
  const all = figures.all.map((figure) => ({ ...figure, ...summarize(figure) }));
  writeFileSync(
    options.json,
    `${JSON.stringify({ machine, figures: all, leftOut: figures.leftOut, wrong }, null, 2)}\n`,
  );
}

if (import.meta.main) process.exit(await main());
