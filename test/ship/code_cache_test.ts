import { equal, match } from "@std/assert";
import { spawnSync } from "node:child_process";
import { readFileSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import process, { execPath } from "node:process";
import { bundle, CODE_CACHE, PROGRAM } from "../support/bundle.ts";
import { writeCodeCache } from "../support/code_cache.ts";
import { V8_FLAGS } from "../support/subject.ts";
import { temporaryDir } from "../support/temp.ts";

/** Runs a script as the image runs the plugin: V8's flags come by the environment. */
function run(script: string, ...args: readonly string[]) {
  const env = { ...process.env, DENO_V8_FLAGS: V8_FLAGS, NO_COLOR: "1" };
  return spawnSync(execPath, ["run", "-A", "--quiet", "--no-config", script, ...args], { encoding: "utf8", env });
}

Deno.test("the code cache is what V8 takes under the image's flags, and without it the program starts as well", async () => {
  using dir = temporaryDir();
  const started = await bundle(dir.path);
  match(run(started, "version").stdout, /^rdma-device-plugin \d/);

  await writeCodeCache(dir.path);
  // The starter with one more line at its end.
  const checked = join(dir.path, "checked.mjs");
  writeFileSync(checked, `${readFileSync(started, "utf8")}\nconsole.log("refused", script.cachedDataRejected);\n`);
  match(run(checked, "version").stdout, /refused false/);

  // Another program than the cache was made of, and a cache that is torn.
  const program = readFileSync(join(dir.path, PROGRAM), "utf8");
  writeFileSync(join(dir.path, PROGRAM), `${program}\n// one line more`);
  match(run(checked, "version").stdout, /rdma-device-plugin \d[^]*refused true/);
  writeFileSync(join(dir.path, PROGRAM), program);
  writeFileSync(join(dir.path, CODE_CACHE), readFileSync(join(dir.path, CODE_CACHE)).subarray(0, 1_000));
  const torn = run(checked, "version");
  match(torn.stdout, /rdma-device-plugin \d[^]*refused true/);
  equal(torn.status, 0, torn.stderr);
});
