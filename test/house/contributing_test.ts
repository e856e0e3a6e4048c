import { deepEqual, ok } from "@std/assert";
import { readFileSync } from "node:fs";
import config from "../../deno.json" with { type: "json" };

const CONTRIBUTING = readFileSync(new URL("../../CONTRIBUTING.md", import.meta.url), "utf8");

/** "npm:@grpc/grpc-js@1.14.7" and "npm:/kubernetes-models@5.1.0/" without version and slashes at the ends. */
const bare = (specifier: string) =>
  specifier.replace(/^npm:\/?/, "npm:").replace(/(?<=.)@\d[^/]*/, "").replace(/\/$/, "");

Deno.test("CONTRIBUTING says of every import name what is behind it, and why", () => {
  const rows = [...CONTRIBUTING.matchAll(/^\| `(\S+)` +\| `(\S+)` +\| (.+?) +\| (yes|no) +\|$/gm)];
  const table = Object.fromEntries(rows.map(([, name = "", target = ""]) => [name, target]));
  deepEqual(table, Object.fromEntries(Object.entries(config.imports).map(([name, to]) => [name, bare(to)])));
});

Deno.test("CONTRIBUTING names every task, and no other", () => {
  const named = new Set([...CONTRIBUTING.matchAll(/`deno task ([\w:]+)/g)].map(([, task = ""]) => task));
  deepEqual([...named].filter((task) => !(task in config.tasks)), []);
  const missing = Object.keys(config.tasks).filter((task) => !named.has(task));
  ok(missing.length === 0, `CONTRIBUTING does not name ${missing.join(", ")}`);
});
