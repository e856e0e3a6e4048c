import { equal, ok } from "@std/assert";
import { spawnSync } from "node:child_process";
import { execPath } from "node:process";
import { fileURLToPath } from "node:url";

const ROOT = fileURLToPath(new URL("../..", import.meta.url));
const MODULE = new URL("../../src/cli/code_pages.ts", import.meta.url).href;

/** What a process of its own prints; a release in this one would slow down every test beside it. */
function printed(script: string, ...flags: readonly string[]): Record<string, unknown> {
  const words = ["run", "--quiet", "--frozen", "--no-check", ...flags, "-"];
  const run = spawnSync(execPath, words, { cwd: ROOT, input: script, encoding: "utf8" });
  equal(run.status, 0, run.stderr);
  return JSON.parse(run.stdout);
}

const SCRIPT = `
import { readFileSync } from "node:fs";
import { releaseCodePages } from ${JSON.stringify(MODULE)};
const files = () => Number(/^RssFile:\\s+(\\d+)/m.exec(readFileSync("/proc/self/status", "utf8"))[1]);
const before = files();
releaseCodePages();
const after = files();
// Parser, compiler, regular expressions, dates in words, compression, an asynchronous read: all come back from the file.
const text = new Function("return /b+/.exec('abbc')[0] + new Intl.DateTimeFormat('en', { month: 'long' }).format(new Date(0))")();
const { gzipSync, gunzipSync } = await import("node:zlib");
const again = gunzipSync(gzipSync(await Deno.readFile("deno.json"))).length === readFileSync("deno.json").length;
console.log(JSON.stringify({ before, after, text, again }));
`;

Deno.test("released code pages leave the process, and come back when they are used", () => {
  const { before, after, text, again } = printed(SCRIPT, "--allow-all");
  ok(Number(after) < Number(before) * 0.7, `${before} kB of files before, ${after} kB after`);
  equal(text, "bbJanuary");
  equal(again, true);
});

Deno.test("without FFI nothing is released and nothing fails", () => {
  const script = `
    import { releaseCodePages } from ${JSON.stringify(MODULE)};
    releaseCodePages();
    console.log(JSON.stringify({ went: "on" }));`;
  equal(printed(script, "--no-prompt").went, "on");
});
