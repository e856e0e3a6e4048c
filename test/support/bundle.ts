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
import { chmodSync, mkdirSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { execPath } from "node:process";
import { stop, transform } from "esbuild";
import { ROOT } from "./root.ts";
import { everyAddressBut } from "./addresses.ts";
import { run } from "./run.ts";

/** What is started. */
export const BUNDLE = "rdma-device-plugin.mjs";
/** What it loads: the whole program. The permission sets name it by its absolute path. */
export const PROGRAM = "rdma-device-plugin.cjs";

/** V8's code cache of the program, where there is one (test/support/code_cache.ts). The permission sets name it, too. */
export const CODE_CACHE = "rdma-device-plugin.cache";

/**
 * What `require` would do, with a code cache; for what is started and for what records the cache, because V8 takes a
 * cache for the same text only. Modules of the runtime come by `getBuiltinModule`: an `import` of node:fs loads all that
 * it could ever need. The program is ASCII, so that V8 keeps one byte for each of its characters and not two.
 */
export const LOADER = `const { readFileSync } = process.getBuiltinModule("node:fs");
const { Script } = process.getBuiltinModule("node:vm");
function load(program, cachedData) {
  const source = "(function (exports, require, module, __filename) {" + readFileSync(program, "latin1") + "\\n})";
  return new Script(source, { filename: program, cachedData });
}
function builtin(name) {
  const found = process.getBuiltinModule(name);
  if (found === undefined) throw new Error("Cannot find module " + name);
  return found;
}
function start(script, program) {
  const module = { exports: {} };
  script.runInThisContext().call(module.exports, module.exports, builtin, module, program);
}
`;

/** A cache of another V8, other flags or another program is refused by V8, which then compiles as if there were none. */
const STARTER = `${LOADER}const program = import.meta.dirname + "/${PROGRAM}";
let cachedData;
try {
  cachedData = readFileSync(import.meta.dirname + "/${CODE_CACHE}");
} catch {} // without the cache the program is compiled, which only takes longer
const script = load(program, cachedData);
start(script, program);
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
  const text = await program();
  const output = join(directory, BUNDLE);
  mkdirSync(directory, { recursive: true });
  writeFileSync(join(directory, PROGRAM), text);
  writeFileSync(output, `${interpreter === null ? "" : `#!${interpreter}\n`}${STARTER}`);
  chmodSync(output, interpreter === null ? 0o644 : 0o755);
  writeFileSync(join(directory, "deno.json"), `${JSON.stringify({ permissions: permissions() }, null, 2)}\n`);
  return output;
}

/** Made once, which takes two seconds. */
let made: Promise<string> | undefined;

function program(): Promise<string> {
  return made ??= makeProgram();
}

/** The text of the program. */
async function makeProgram(): Promise<string> {
  const dir = mkdtempSync(join(tmpdir(), "rdma-bundle-"));
  try {
    const plain = join(dir, "plain.js");
    const flags = ["--quiet", "--frozen", "--platform", "deno"];
    run(execPath, ["bundle", ...flags, "--output", plain, "src/cli/program.ts"], { cwd: ROOT });
    // Target: `using` and whatever else Node.js 20 cannot read.
    const { code } = await transform(readFileSync(plain, "utf8"), {
      format: "cjs",
      define: { "import.meta.url": "__filename" },
      target: "node20",
      minifyWhitespace: true,
      minifySyntax: true,
      legalComments: "none",
    });
    return `${PREAMBLE}${ascii(code)}`;
  } finally {
    await stop();
    rmSync(dir, { recursive: true, force: true });
  }
}

/** With escapes for what the bundler leaves in templates and regular expressions. Nothing here reads a template raw. */
function ascii(code: string): string {
  return code.replace(/[^\0-\x7f]/g, (unit) => `\\u${unit.charCodeAt(0).toString(16).padStart(4, "0")}`);
}

/** Names of the permission sets that are shipped. */
export type PermissionSet = "image" | "no-ffi" | "image-api" | "image-dra";

/** Loopback, the kernel's own, and the private ranges, in one of which the API server's service address is. */
const PRIVATE = ["0.0.0.0/8", "127.0.0.0/8", "10.0.0.0/8", "100.64.0.0/10", "172.16.0.0/12", "192.168.0.0/16"];

/**
 * A flag for the command of the image that lets the plugin reach these addresses and loopback, and nothing else; it
 * replaces what the permission set says. For an API server whose address is known.
 */
export function denyAllBut(addresses: readonly string[]): string {
  return `--deny-net=${everyAddressBut("0.0.0.0/8", "127.0.0.0/8", ...addresses).join()}`;
}

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
    net: { allow: true, deny: everyAddressBut(...PRIVATE) },
  };
  const driver = "/var/lib/kubelet/plugins/rdma.tencent.com";
  const dra = { ...api, read: [...api.read, driver], write: [...api.write, driver] };
  return { image, "no-ffi": tight, "image-api": api, "image-dra": dra };
}
