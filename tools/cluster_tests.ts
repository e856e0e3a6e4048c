/**
 * `deno task test:cluster [--all] [--only PATTERN] [--record] [--runs N] [flags of deno test]`: the tests in test/cluster,
 * which a plain `deno task test` leaves out. `--runs` is how many pods of each kind are timed where that is printed.
 *
 * @module
 */
import { spawn } from "node:child_process";
import { once } from "node:events";
import process from "node:process";
import { DEFAULT_KUBERNETES } from "../test/support/cluster/versions.ts";

const env: Record<string, string> = { CLUSTER: DEFAULT_KUBERNETES };
const rest: string[] = [];
const words = process.argv.slice(2);
for (let word = words.shift(); word !== undefined; word = words.shift()) {
  if (word === "--all") env.CLUSTER = "all";
  else if (word === "--record") env.CLUSTER_RECORD = "1";
  else if (word === "--runs") env.CLUSTER_RUNS = words.shift() ?? "";
  else if (word === "--only") env.CLUSTER_ONLY = words.shift() ?? "";
  else if (word === "--kubernetes") env.CLUSTER = words.shift() ?? DEFAULT_KUBERNETES;
  else rest.push(word);
}
const test = spawn(
  process.execPath,
  ["test", "-A", "--frozen", "--no-check", ...rest, "test/cluster/cluster_test.ts"],
  {
    stdio: "inherit",
    env: { ...process.env, ...env },
  },
);
for (const signal of ["SIGINT", "SIGTERM"] as const) process.on(signal, () => test.kill(signal));
const [status] = await once(test, "exit");
process.exit(status ?? 1);
