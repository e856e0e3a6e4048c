import { deepEqual, equal } from "@std/assert";
import { mock } from "node:test";
import type { Discovery } from "../../src/hca/discover.ts";
import { OutOfFiles } from "../../src/hca/files.ts";
import { type Depth, trigger } from "../../src/hca/events/trigger.ts";
import type { Snapshot } from "../../src/hca/types.ts";
import { RescanLoop } from "../../src/agent/rescan_loop.ts";

/** Longer than any chain of promises in there. */
async function turn(): Promise<void> {
  for (let n = 0; n < 20; n++) await Promise.resolve();
}

Deno.test("a scan that failed is made again after 1 s, 2 s, 4 s, as deep as it was, until one succeeds", async () => {
  mock.timers.enable({ apis: ["setTimeout"] });
  const begun: Depth[] = [];
  const errors: unknown[] = [];
  let made = 0;
  const discovery: Pick<Discovery, "scan"> = {
    scan: (depth) => {
      begun.push(depth);
      return begun.length <= 3 ? Promise.reject(new OutOfFiles("no file")) : Promise.resolve({} as Snapshot);
    },
  };
  const loop = new RescanLoop({
    discovery: discovery as Discovery,
    rescanMs: 0,
    onScan: () => void made++,
    onError: (error) => void errors.push(error),
  });
  try {
    loop.trigger(trigger("start", "start", { depth: "full" }));
    await turn();
    equal(begun.length, 1);
    for (const [wait, count] of [[999, 1], [1, 2], [1_999, 2], [1, 3], [3_999, 3], [1, 4], [60_000, 4]] as const) {
      mock.timers.tick(wait);
      await turn();
      equal(begun.length, count, `after ${wait} ms more`);
    }
    deepEqual(begun, ["full", "full", "full", "full"]);
    equal(errors.length, 3);
    equal(made, 1);
  } finally {
    await loop.close();
    mock.timers.reset();
  }
});
