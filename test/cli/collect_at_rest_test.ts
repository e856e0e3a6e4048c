import { equal, ok } from "@std/assert";
import { setTimeout as delay } from "node:timers/promises";
import { CollectAtRest, openCollector } from "../../src/cli/collect_at_rest.ts";
import { within } from "../support/temp.ts";

/** A collector that can be waited for. */
function collector() {
  const waiting: (() => void)[] = [];
  let count = 0;
  return {
    collect: () => {
      count++;
      waiting.shift()?.();
    },
    next: () => within(new Promise<void>((resolve) => waiting.push(resolve)), "a collection"),
    get count() {
      return count;
    },
  };
}

Deno.test("the start is collected once, then every burst, and nothing that is less", async () => {
  const made = collector();
  using rest = new CollectAtRest(made.collect, 5);
  await made.next();
  for (let i = 0; i < 199; i++) rest.worked();
  equal(made.count, 1);
  const second = made.next();
  rest.worked();
  await second;
  equal(made.count, 2);
});

Deno.test("it waits while there is work", async () => {
  const made = collector();
  using rest = new CollectAtRest(made.collect, 20);
  const first = made.next();
  let turns = 0;
  const busy = setInterval(() => {
    rest.worked();
    if (++turns < 20) equal(made.count, 0);
    else clearInterval(busy);
  }, 5);
  await first;
  ok(turns >= 20, `${turns} turns`);
});

Deno.test("openCollector() collects what nothing refers to any more", async () => {
  const reference = new WeakRef({});
  // An object that was made in this turn of the event loop stays until its end.
  await delay(0);
  openCollector()();
  equal(reference.deref(), undefined);
});
