/**
 * `deno task runtime [VERSION|FILE]`: whether a Deno can carry the plugin, in some minutes. Everything runs on the Deno
 * that is asked about: clients that leave in every manner, over ordinary memory and over memory that is overwritten when
 * it is freed; the stories in which the kubelet restarts; a kubelet that never reads. Ends with a verdict.
 *
 * @module
 */
import { spawnSync } from "node:child_process";
import { writeFileSync } from "node:fs";
import { join } from "node:path";
import process, { execPath } from "node:process";
import { fileURLToPath } from "node:url";
import { parseArgs } from "@std/cli";
import { fakeKubelet, RESOURCE } from "../test/support/kubelet.ts";
import { ROOT } from "../test/support/root.ts";
import { socketName } from "../src/kubelet/socket_file.ts";
import type { PluginProcess } from "../sim/mod.ts";
import { ALL_MANNERS, leaveOften, openList } from "../test/support/leave.ts";
import { type OnHost, onHost } from "../test/support/plugin.ts";
import { memoryOf } from "../test/support/process_figures.ts";
import { startIn } from "../test/support/wrapped.ts";

const SELF = fileURLToPath(import.meta.url);

/** As in the image; without them the heap takes what it finds, and says nothing about what is held. */
const V8 = "DENO_V8_FLAGS=--max-semi-space-size=1,--heap-growing-percent=10,--no-maglev";
/** MiB that a plugin may grow by in one measurement. */
const MOST_GROWTH = 30;

/** One line of the table. */
interface Row {
  readonly what: string;
  readonly came: string;
  readonly good: boolean;
}

/** A plugin that is registered with a kubelet, and what is done to it; a plugin that ends is a bad row. */
async function withPlugin(
  what: string,
  env: readonly string[],
  work: (place: OnHost, plugin: PluginProcess, socket: string) => Promise<Omit<Row, "what">>,
  ...flags: readonly string[]
): Promise<Row> {
  await using place = onHost("connectx-ib-dual");
  await using _kubelet = await fakeKubelet(place.kubeletDir);
  await using plugin = startIn(["env", V8, ...env], place, flags);
  const ended = plugin.ended.then(({ code, signal }) => ({
    came: `the plugin ended (${signal ?? code})`,
    good: false,
  }));
  const socket = join(place.kubeletDir, socketName(RESOURCE));
  const failed = (error: Error) => ({ came: error.message.split("\n", 1)[0]!, good: false });
  const all = plugin.logged(/code=registered/).then(() => work(place, plugin, socket));
  const late = new Promise<void>((resolve) => setTimeout(resolve, 1_000).unref());
  // A client may see the end of the plugin before its status is there.
  const row = await Promise.race([ended, all.catch((error) => Promise.race([ended, late.then(() => failed(error))]))]);
  return { what, ...row };
}

/** So many clients of every manner, and what they cost. */
function leaving(count: number, lanes: number, env: readonly string[] = []): Promise<Row> {
  const how = `${lanes === 1 ? "in turns" : `${lanes} at once`}${env.length > 0 ? ", freed memory overwritten" : ""}`;
  return withPlugin(
    `${count} clients of each of ${ALL_MANNERS.length} manners, ${how}`,
    env,
    async (_, plugin, socket) => {
      const often = async (each: number) => {
        for (const manner of ALL_MANNERS) await leaveOften(socket, manner, each, lanes);
      };
      await often(Math.ceil(count / 10));
      const before = memoryOf(plugin.pid).anonymous;
      await often(count);
      const after = memoryOf(plugin.pid).anonymous;
      const came = `alive, ${before.toFixed(0)} MiB before and ${after.toFixed(0)} after`;
      return { came, good: after - before < MOST_GROWTH };
    },
  );
}

/** A list of 6,000 devices changes while a client has its window shut. */
async function neverReads(changes: number): Promise<Row> {
  const config = join(Deno.makeTempDirSync(), "config.yaml");
  const resource = { name: RESOURCE, mode: "shared", share: "one", shares: 6_000, health: { settle: "0s" } };
  writeFileSync(config, JSON.stringify({ resources: [resource] }));
  return await withPlugin(
    `${changes} lists of 160 KB for a kubelet that never reads`,
    [],
    async (place, plugin, socket) => {
      using _list = await openList(socket);
      const flips = async (n: number) => {
        for (let i = 0; i < n; i++) {
          const lines = plugin.log.length;
          const change = i % 2 === 0 ? "portDown" : "portUp";
          await place.host[change]("mlx5_0", 1);
          const seen = () => plugin.log.slice(lines).some((line) => /mlx5_0: (Unh|H)ealthy → /.test(line));
          for (let waited = 0; !seen() && waited < 5_000; waited++) await new Promise((r) => setTimeout(r, 1));
        }
      };
      await flips(changes / 5);
      const before = memoryOf(plugin.pid).anonymous;
      await flips(changes);
      const grown = memoryOf(plugin.pid).anonymous - before;
      return { came: `grew by ${grown.toFixed(0)} MiB`, good: grown < MOST_GROWTH };
    },
    "--config",
    config,
  );
}

function stories(count: number): Row {
  const command = ["run", "-A", "--quiet", "--no-check", join(ROOT, "sim/main.ts"), "--scenario", "watcher"];
  const env = { ...process.env, MALLOC_PERTURB_: "165" };
  const good = Array.from({ length: count }, () => spawnSync(execPath, command, { env }).status)
    .filter((status) => status === 0).length;
  return {
    what: `${count} stories of the plugin watcher, freed memory overwritten`,
    came: `${good} ended well`,
    good: good === count,
  };
}

async function measure(scale: number): Promise<number> {
  const n = (count: number) => Math.max(1, Math.round(count * scale));
  const rows: readonly (() => Row | Promise<Row>)[] = [
    () => leaving(n(20), 1, ["MALLOC_PERTURB_=165"]),
    () => leaving(n(300), 1),
    () => leaving(n(300), 16),
    () => neverReads(n(300)),
    () => stories(n(10)),
  ];
  process.stdout.write(
    `Deno ${process.versions.deno}\n\n| what is done | what came of it | good |\n| --- | --- | --- |\n`,
  );
  let bad = 0;
  for (const make of rows) {
    const { what, came, good } = await make();
    if (!good) bad++;
    process.stdout.write(`| ${what} | ${came} | ${good ? "yes" : "NO"} |\n`);
  }
  process.stdout.write(
    `\n${bad === 0 ? "This Deno can carry the plugin." : `${bad} of ${rows.length} are not good.`}\n`,
  );
  return bad === 0 ? 0 : 1;
}

/** The program of a version, as npm installs it; a path is taken as it is. */
function programOf(wanted: string): string {
  if (!/^\d+\.\d+\.\d+$/.test(wanted)) return wanted;
  const found = spawnSync("npx", ["-y", `deno@${wanted}`, "eval", "console.log(Deno.execPath())"], {
    encoding: "utf8",
  });
  if (found.status !== 0) throw new Error(`There is no Deno ${wanted}: ${found.stderr.trim()}`);
  return found.stdout.trim();
}

if (import.meta.main) {
  const { values, positionals } = parseArgs({
    options: { scale: { type: "string", default: "1" } },
    allowPositionals: true,
  });
  const [wanted] = positionals;
  if (wanted === undefined) process.exit(await measure(Number(values.scale)));
  const command = ["run", "-A", "--quiet", "--no-check", "--frozen", SELF, "--scale", values.scale];
  process.exit(spawnSync(programOf(wanted), command, { stdio: "inherit", cwd: ROOT }).status ?? 1);
}
