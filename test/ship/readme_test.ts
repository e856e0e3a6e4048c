import { ok } from "@std/assert";
import { existsSync, readFileSync } from "node:fs";
import config from "../../deno.json" with { type: "json" };

const ROOT = new URL("../../", import.meta.url);
const readme = readFileSync(new URL("README.md", ROOT), "utf8");

Deno.test("README's links lead to files, and its tasks exist", () => {
  for (const [, target] of readme.matchAll(/\]\(([^)#:]+)\)/g)) {
    ok(existsSync(new URL(target!, ROOT)), `${target} is missing`);
  }
  const tasks = Object.keys(config.tasks);
  for (const [, task] of readme.matchAll(/deno(?:@[\d.]+)? task ([\w:]+)/g)) {
    ok(tasks.includes(task!), `no task ${task}`);
  }
});
