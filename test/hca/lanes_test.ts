import { deepEqual, equal, rejects } from "@std/assert";
import { inLanes } from "../../src/hca/lanes.ts";

Deno.test("inLanes() gives results in order, and begins no more than so many at a time", async () => {
  let [open, most] = [0, 0];
  const results = await inLanes([5, 1, 4, 2, 3], 2, async (n) => {
    most = Math.max(most, ++open);
    for (let i = 0; i < n; i++) await Promise.resolve();
    open--;
    return n * 10;
  });
  deepEqual(results, [50, 10, 40, 20, 30]);
  equal(most, 2);
  deepEqual(await inLanes([], 2, () => Promise.resolve(1)), []);
});

Deno.test("inLanes() begins nothing after an error", async () => {
  const begun: number[] = [];
  const work = (n: number) => {
    begun.push(n);
    return n === 2 ? Promise.reject(new Error("two")) : Promise.resolve(n);
  };
  await rejects(inLanes([1, 2, 3, 4, 5, 6], 2, work), /two/);
  equal(begun.includes(6), false);
});
