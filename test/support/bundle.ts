/**
 * The bundle: the plugin as a program that needs no network and no cache, for Deno and for Node.js 20
 * (where Deno has no build): all of it in one CommonJS file, a few lines that start it, and a deno.json with the permission
 * sets alone. Names are kept, so that stack traces can be read.
 *
 * CommonJS because of what Deno does with it: nothing. An ES module is read a second time by Deno's own parser, whose
 * syntax tree of a file that large stays in the process: 27 MiB, and a tenth of a second at every start without a cache
 * (docs/performance.md). Started by `vm.Script`, because that takes a code cache.
 *
 * @module
 */
import { spawnSync } from "node:child_process";
import { chmodSync, mkdirSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { execPath } from "node:process";
import { fileURLToPath } from "node:url";
import { stop, transform } from "esbuild";

const ROOT = fileURLToPath(new URL("../..", import.meta.url));
/** What is started. */
export const BUNDLE = "rdma-device-plugin.mjs";
/** What it loads: the whole program. The permission sets name it by its absolute path. */
export const PROGRAM = "rdma-device-plugin.cjs";

/** V8's code cache of the program, where there is one (test/support/code_cache.ts). The permission sets name it, too. */
export const CODE_CACHE = "rdma-device-plugin.cache";

/**
 * What `require` would do, with a code cache. A cache of another V8, other flags or another program is refused by V8,
 * which then compiles as if there were none.
 */
const STARTER = `import { readFileSync } from "node:fs";
import { createRequire } from "node:module";
import { dirname } from "node:path";
import { fileURLToPath } from "node:url";
import { Script } from "node:vm";
const program = fileURLToPath(new URL("./${PROGRAM}", import.meta.url));
let cachedData;
try {
  cachedData = readFileSync(fileURLToPath(new URL("./${CODE_CACHE}", import.meta.url)));
} catch {}
const source = "(function (exports, require, module, __filename, __dirname) {" + readFileSync(program, "utf8") + "\\n})";
const script = new Script(source, { filename: program, cachedData });
const module = { exports: {} };
script.runInThisContext().call(module.exports, module.exports, createRequire(program), module, program, dirname(program));
`;

/** Node.js 20 lacks Promise.withResolvers, which came with 22. */
const PREAMBLE =
  `Promise.withResolvers??=function(){let resolve,reject;const promise=new this((a,b)=>{resolve=a;reject=b});
return{promise,resolve,reject}};
`;

/**
 * Makes the program and its deno.json.
 *
 * @param interpreter goes into the first line of what is started, which is made executable
 * @returns the path of what is started
 * @throws with the bundler's own words
 */
export async function bundle(directory: string, interpreter: string | null = null): Promise<string> {
  const dir = mkdtempSync(join(tmpdir(), "rdma-bundle-"));
  const output = join(directory, BUNDLE);
  try {
    const plain = join(dir, "plain.js");
    const run = spawnSync(
      execPath,
      ["bundle", "--quiet", "--frozen", "--platform", "deno", "--output", plain, "src/cli/program.ts"],
      { cwd: ROOT, encoding: "utf8" },
    );
    if (run.status !== 0) throw new Error(`deno bundle: ${run.stderr.trim()}`);
    // Target: `using` and whatever else Node.js 20 cannot read.
    const { code } = await transform(readFileSync(plain, "utf8"), {
      format: "cjs",
      define: { "import.meta.url": "__filename" },
      target: "node20",
      minifyWhitespace: true,
      minifySyntax: true,
      legalComments: "none",
    });
    mkdirSync(directory, { recursive: true });
    writeFileSync(join(directory, PROGRAM), `${PREAMBLE}${code}`);
    writeFileSync(output, `${interpreter === null ? "" : `#!${interpreter}\n`}${STARTER}`);
    chmodSync(output, interpreter === null ? 0o644 : 0o755);
    writeFileSync(join(directory, "deno.json"), `${JSON.stringify({ permissions: permissions() }, null, 2)}\n`);
  } finally {
    await stop();
    rmSync(dir, { recursive: true, force: true });
  }
  return output;
}

/** Names of the permission sets that are shipped. */
export type PermissionSet = "image" | "no-ffi" | "image-api" | "image-dra";

/**
 * Every IPv4 address but loopback and the private ranges, in which the API server's service address is: Deno refuses by
 * prefix, and cannot allow one address and unix sockets at the same time without naming each socket.
 */
const PUBLIC_ADDRESSES = [
  "1.0.0.0/8",
  "2.0.0.0/7",
  "4.0.0.0/6",
  "8.0.0.0/7",
  "11.0.0.0/8",
  "12.0.0.0/6",
  "16.0.0.0/4",
  "32.0.0.0/3",
  "64.0.0.0/3",
  "96.0.0.0/6",
  "100.0.0.0/10",
  "100.128.0.0/9",
  "101.0.0.0/8",
  "102.0.0.0/7",
  "104.0.0.0/5",
  "112.0.0.0/5",
  "120.0.0.0/6",
  "124.0.0.0/7",
  "126.0.0.0/8",
  "128.0.0.0/3",
  "160.0.0.0/5",
  "168.0.0.0/6",
  "172.0.0.0/12",
  "172.32.0.0/11",
  "172.64.0.0/10",
  "172.128.0.0/9",
  "173.0.0.0/8",
  "174.0.0.0/7",
  "176.0.0.0/4",
  "192.0.0.0/9",
  "192.128.0.0/11",
  "192.160.0.0/13",
  "192.169.0.0/16",
  "192.170.0.0/15",
  "192.172.0.0/14",
  "192.176.0.0/12",
  "192.192.0.0/10",
  "193.0.0.0/8",
  "194.0.0.0/7",
  "196.0.0.0/6",
  "200.0.0.0/5",
  "208.0.0.0/4",
  "224.0.0.0/3",
];

/**
 * The permission sets that are shipped: `image` of deno.json, the same without foreign functions, the same with the
 * service account and a way to the API server, and that with the directory of the DRA driver.
 */
export function permissions(): Readonly<Record<PermissionSet, Readonly<Record<string, unknown>>>> {
  const config = JSON.parse(readFileSync(join(ROOT, "deno.json"), "utf8")) as {
    permissions: { image: Record<"read" | "write" | "env", readonly string[]> & Record<string, unknown> };
  };
  const { image } = config.permissions;
  const { ffi: _ffi, ...tight } = image;
  const api = {
    ...image,
    read: [...image.read, "/var/run/secrets/kubernetes.io/serviceaccount"],
    env: [...image.env, "KUBERNETES_SERVICE_HOST", "KUBERNETES_SERVICE_PORT"],
    net: { allow: true, deny: PUBLIC_ADDRESSES },
  };
  const driver = "/var/lib/kubelet/plugins/rdma.tencent.com";
  const dra = { ...api, read: [...api.read, driver], write: [...api.write, driver] };
  return { image, "no-ffi": tight, "image-api": api, "image-dra": dra };
}
