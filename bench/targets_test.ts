import { equal, match, ok } from "@std/assert";
import { QUANTITIES } from "./catalogue.ts";
import { type Figure, PLUGIN, ratio } from "./figure.ts";
import { TARGETS, targetsTable, verdict } from "./targets.ts";

const of = (name: string, id: string, ...runs: number[]): Figure => ({ id, of: name, runs });

Deno.test("every target is of a figure that there is", () => {
  for (const { id } of TARGETS) ok(QUANTITIES.some((one) => one.id === id), id);
});

Deno.test("a ratio is of the medians, its spread of the runs in pairs, and nothing is divided by nothing", () => {
  const found = ratio(of(PLUGIN, "start", 10, 30, 20), of("go", "start", 10, 10, 20));
  equal(found?.median, 2);
  equal(found?.least, 1);
  equal(found?.most, 3);
  equal(ratio(of(PLUGIN, "start", 10), of("go", "start", 0)), null);
});

Deno.test("a target is met at its limit, missed above it with the reason, and left out without a figure", () => {
  const [p50] = TARGETS.filter(({ id }) => id === "allocate.1.p50");
  const go = of("go", "allocate.1.p50", 100);
  equal(verdict(p50!, [of(PLUGIN, "allocate.1.p50", 130), go], "go")?.met, true);
  equal(verdict(p50!, [of(PLUGIN, "allocate.1.p50", 131), go], "go")?.met, false);
  equal(verdict(p50!, [of(PLUGIN, "allocate.1.p50", 131)], null), null);
  const table = targetsTable([of(PLUGIN, "allocate.1.p50", 131), go, of(PLUGIN, "start", 99)], "go");
  match(table, /Allocate, 1 client, p50 \| at most 1\.30 × go \| 1\.31 × go \| \*\*missed\*\*: the runtime/);
  match(table, /exec → registered \| at most 100 ms \| 99 ms \| met \|/);
  equal(table.split("\n").length, 5);
});
