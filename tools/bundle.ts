/**
 * `deno task bundle [DIRECTORY]`: the plugin as one file that needs no network and no cache, for Deno and for Node.js 20
 * (where Deno has no build), and beside it a deno.json with the permission sets alone. Names are kept, so that stack traces
 * can be read.
 *
 * @module
 */
import { spawnSync } from "node:child_process";
import { chmodSync, mkdirSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import process, { execPath } from "node:process";
import { fileURLToPath } from "node:url";
import { stop, transform } from "esbuild";

const ROOT = fileURLToPath(new URL("..", import.meta.url));
const DEFAULT_DIRECTORY = join(ROOT, "dist");
/** The name of the bundle in its directory. */
export const BUNDLE = "rdma-device-plugin.mjs";

/**
 * What the bundle starts with. CommonJS packages call `require` for Node's own modules; Node.js 20 lacks
 * Promise.withResolvers, which came with 22.
 */
const PREAMBLE = `import{createRequire as makeRequire}from"node:module";const require=makeRequire(import.meta.url);
Promise.withResolvers??=function(){let resolve,reject;const promise=new this((a,b)=>{resolve=a;reject=b});` +
  `return{promise,resolve,reject}};
`;

/**
 * Makes the bundle and its deno.json.
 *
 * @param interpreter goes into the first line, and the file is made executable
 * @throws with the bundler's own words
 */
export async function bundle(directory = DEFAULT_DIRECTORY, interpreter: string | null = null): Promise<string> {
  const dir = mkdtempSync(join(tmpdir(), "rdma-bundle-"));
  const output = join(directory, BUNDLE);
  try {
    const plain = join(dir, "plain.js");
    const run = spawnSync(
      execPath,
      ["bundle", "--quiet", "--frozen", "--platform", "deno", "--output", plain, "src/program.ts"],
      { cwd: ROOT, encoding: "utf8" },
    );
    if (run.status !== 0) throw new Error(`deno bundle: ${run.stderr.trim()}`);
    // Target: `using` and whatever else Node.js 20 cannot read.
    const { code } = await transform(readFileSync(plain, "utf8"), {
      format: "esm",
      target: "node20",
      minifyWhitespace: true,
      minifySyntax: true,
      legalComments: "none",
    });
    mkdirSync(directory, { recursive: true });
    writeFileSync(output, `${interpreter === null ? "" : `#!${interpreter}\n`}${PREAMBLE}${code}`);
    chmodSync(output, interpreter === null ? 0o644 : 0o755);
    writeFileSync(join(directory, "deno.json"), `${JSON.stringify({ permissions: permissions() }, null, 2)}\n`);
  } finally {
    await stop();
    rmSync(dir, { recursive: true, force: true });
  }
  return output;
}

/** The permission sets of deno.json. */
export function permissions(): Readonly<Record<string, unknown>> {
  const config = JSON.parse(readFileSync(join(ROOT, "deno.json"), "utf8")) as { permissions: Record<string, unknown> };
  return config.permissions;
}

if (import.meta.main) {
  const [directory = DEFAULT_DIRECTORY, interpreter = null] = process.argv.slice(2);
  const output = await bundle(directory, interpreter);
  process.stdout.write(`${output}: ${(readFileSync(output).length / 1024).toFixed(0)} KiB\n`);
}
