import { deepEqual, equal, match, ok, throws } from "@std/assert";
import { readFileSync } from "node:fs";
import { QUANTITIES } from "./catalogue.ts";
import { Figures, mistakes, PLUGIN, summarize, table } from "./figure.ts";
import { V8_FLAGS } from "../test/support/subject.ts";

/** Every figure that the plugin has, right where it must be so. */
function whole(): Figures {
  const figures = new Figures();
  for (const { id, exactly } of QUANTITIES) figures.add(PLUGIN, id, exactly ?? 7);
  return figures;
}

Deno.test("the catalogue has no figure twice", () => {
  equal(new Set(QUANTITIES.map((one) => one.id)).size, QUANTITIES.length);
});

Deno.test("summarize() gives the median of odd and even numbers of runs, and refuses none", () => {
  const of = (runs: readonly number[]) => summarize({ id: "start", of: PLUGIN, runs });
  deepEqual(of([3, 1, 2]), { median: 2, least: 1, most: 3 });
  deepEqual(of([4, 1, 2, 10]), { median: 3, least: 1, most: 10 });
  throws(() => of([]), /never measured/);
});

Deno.test("mistakes() finds nothing in a whole run", () => {
  deepEqual(mistakes(whole()), []);
});

Deno.test("mistakes() names figures that are missing, and not those left out with a reason", () => {
  const figures = whole();
  const without = figures.all.filter((one) => !/^(image|event)\./.test(one.id));
  figures.leaveOut("image.", "no buildah");
  deepEqual(
    mistakes({ all: without, leftOut: figures.leftOut }),
    ["event.p50", "event.p99", "event.max"].map((id) => `${id} was not measured`),
  );
});

Deno.test("mistakes() names a count that is not what it must be, in whichever run", () => {
  const figures = whole();
  figures.add(PLUGIN, "resources.lists", 100);
  deepEqual(mistakes(figures), ["resources.lists is 100, and must be 1"]);
});

Deno.test("Figures refuses what the catalogue does not know and what is no number", () => {
  throws(() => new Figures().add(PLUGIN, "allocate.2.p50", 1), /the catalogue has no such figure/);
  throws(() => new Figures().add(PLUGIN, "start", NaN), /Cannot record start of plugin: it is NaN/);
});

Deno.test("table() has a line for each of our figures, and ratios where another has the same", () => {
  const figures = whole();
  figures.add("reference", "start", 3.5);
  figures.add("reference", "restart", 0);
  const lines = table(figures.all).trimEnd().split("\n");
  equal(lines.length, QUANTITIES.length + 1);
  match(lines[1]!, /^exec → registered +7 +ms +3\.50 +2\.00$/);
  match(lines[2]!, /^kubelet restarted → registered again +7 +ms +0$/);
});

Deno.test("the benchmark runs the plugin and itself with the image's V8 flags", () => {
  const read = (name: string) => readFileSync(new URL(`../${name}`, import.meta.url), "utf8");
  const dockerfile = read("Dockerfile");
  ok(dockerfile.includes(`DENO_V8_FLAGS=${V8_FLAGS}\n`), "DENO_V8_FLAGS");
  ok(dockerfile.includes(V8_FLAGS.split(",").map((flag) => `"${flag}"`).join(", ")), "the entry point of Node.js");
  const { tasks } = JSON.parse(read("deno.json")) as { tasks: Record<string, { command: string }> };
  ok(tasks["bench"]!.command.includes(`--v8-flags=${V8_FLAGS} `), "the task");
});
