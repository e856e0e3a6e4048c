import { deepEqual, equal, ok } from "@std/assert";
import fc from "fast-check";
import { mock } from "node:test";
import type { Discovery } from "../../src/hca/discover.ts";
import { type Depth, type Trigger, trigger as makeTrigger } from "../../src/hca/events/trigger.ts";
import type { Snapshot } from "../../src/hca/types.ts";
import { RescanLoop, type RescanLoopOptions, type Scan } from "../../src/agent/rescan_loop.ts";

/** A machine whose scans last until the test ends them, and time that passes when the test says so. */
class Bench implements AsyncDisposable {
  readonly loop: RescanLoop;
  /** How deep each scan was that has begun. */
  readonly begun: Depth[] = [];
  /** Scans whose result was handed on. */
  readonly made: Scan[] = [];
  /** The most scans that were under way at a time. */
  most = 0;
  readonly #underway: (() => void)[] = [];

  constructor(options: Partial<RescanLoopOptions> = {}) {
    mock.timers.enable({ apis: ["setTimeout"] });
    const discovery = {
      scan: (depth: Depth) => {
        const { promise, resolve } = Promise.withResolvers<Snapshot>();
        this.begun.push(depth);
        this.#underway.push(() => resolve(snapshot()));
        this.most = Math.max(this.most, this.#underway.length);
        return promise;
      },
    } as Pick<Discovery, "scan"> as Discovery;
    this.loop = new RescanLoop({ discovery, rescanMs: 0, onScan: (scan) => void this.made.push(scan), ...options });
  }

  /** Ends the scan under way and lets what follows from it happen. */
  async finish(): Promise<void> {
    this.#underway.shift()?.();
    await turn();
  }

  /** Lets time pass, ending every scan at once. */
  async pass(ms: number): Promise<void> {
    mock.timers.tick(ms);
    await turn();
    while (this.#underway.length > 0) await this.finish();
  }

  async [Symbol.asyncDispose](): Promise<void> {
    const closed = this.loop.close();
    while (this.#underway.length > 0) await this.finish();
    await closed;
    mock.timers.reset();
  }
}

/** Longer than any chain of promises in there. */
async function turn(): Promise<void> {
  for (let n = 0; n < 20; n++) await Promise.resolve();
}

function snapshot(): Snapshot {
  const verbs = { kind: "not-asked", detail: "test" } as const;
  return { hcas: [], inPodNetns: [], verbs, rdmaCm: true, knem: false, netnsMode: "shared", unreadable: [], notes: [] };
}

/** What an event asks for. */
function trigger(detail: string, depth: Depth = "quick"): Trigger {
  return makeTrigger("uevent", detail, { depth, urgency: "collect" });
}

const linkEvent = (detail: string) => makeTrigger("link", detail, { urgency: "collect", settle: true });

const details = (scan: Scan | undefined) => scan?.triggers.map((one) => one.detail);

Deno.test("RescanLoop.trigger() makes one scan of a hundred triggers that come during one, and keeps their order", async () => {
  await using bench = new Bench();
  bench.loop.trigger(trigger("first"));
  for (let n = 0; n < 100; n++) bench.loop.trigger(trigger(`${n}`));
  deepEqual(bench.begun, ["quick"]);
  await bench.finish();
  deepEqual(bench.begun, ["quick", "quick"]);
  await bench.finish();
  await bench.pass(60_000);
  deepEqual(bench.made.map((scan) => scan.triggers.length), [1, 100]);
  deepEqual(details(bench.made[1]), Array.from({ length: 100 }, (_, n) => `${n}`));
});

Deno.test("RescanLoop.trigger() scans again for a trigger that comes while the last result is being handed on", async () => {
  let again: () => void = () => {};
  await using bench = new Bench({ onScan: () => again() });
  again = () => {
    again = () => {};
    bench.loop.trigger(trigger("because of the result"));
  };
  bench.loop.trigger(trigger("first"));
  await bench.finish();
  equal(bench.begun.length, 2);
});

Deno.test("RescanLoop.trigger() never has two scans under way, and scans after every trigger", async () => {
  const step = fc.oneof(
    fc.constantFrom("quick" as const, "full" as const).map((depth) => ({ depth })),
    fc.constant("finish" as const),
    fc.nat(3_000),
    fc.constantFrom("start", "SIGHUP", "link", "allocate").map((now) => ({ now })),
  );
  await fc.assert(
    fc.asyncProperty(fc.array(step, { maxLength: 40 }), async (steps) => {
      await using bench = new Bench({ rescanMs: 700 });
      let sent = 0;
      const waiting: Promise<void>[] = [];
      for (const one of steps) {
        if (one === "finish") await bench.finish();
        else if (typeof one === "number") mock.timers.tick(one);
        else if ("now" in one) waiting.push(bench.loop.now(one.now, `${sent++}`));
        else bench.loop.trigger(trigger(`${sent++}`, one.depth));
        await turn();
      }
      await bench.pass(1_000);
      await Promise.all(waiting);
      ok(bench.most <= 1);
      const seen = bench.made.flatMap((scan) => scan.triggers.map((one) => one.detail)).filter((one) =>
        /^\d+$/.test(one)
      );
      deepEqual(seen.map(Number).toSorted((a, b) => a - b), Array.from({ length: sent }, (_, n) => n));
    }),
    { numRuns: 200 },
  );
});

Deno.test("RescanLoop.trigger() answers an event that wants everything with a quick scan, and one full scan a while later", async () => {
  await using bench = new Bench({ collectMs: 1_000 });
  bench.loop.trigger(trigger("add mlx5_0 (infiniband)", "full"));
  await bench.pass(0);
  for (let n = 0; n < 9; n++) {
    await bench.pass(100);
    bench.loop.trigger(trigger(`add mlx5_${n} (infiniband)`, "full"));
    await bench.finish();
  }
  deepEqual(new Set(bench.begun), new Set(["quick"]));
  await bench.pass(100);
  deepEqual(bench.begun.slice(10), ["full"]);
  deepEqual(details(bench.made[10]), ["add mlx5_0 (infiniband) (everything)"]);
  await bench.pass(10_000);
  equal(bench.begun.length, 11);
  // and the next swarm is collected again
  bench.loop.trigger(trigger("remove mlx5_0 (infiniband)", "full"));
  await bench.pass(0);
  await bench.pass(1_000);
  deepEqual(bench.begun.slice(11), ["quick", "full"]);
});

Deno.test("RescanLoop.trigger() makes a full scan at once when it is wanted now, whatever the source is called", async () => {
  for (const source of ["start", "uevent"]) {
    await using bench = new Bench();
    bench.loop.trigger(makeTrigger(source, "everything", { depth: "full", urgency: "now" }));
    await bench.finish();
    bench.loop.trigger(trigger("next"));
    await bench.finish();
    await bench.pass(60_000);
    deepEqual(bench.begun, ["full", "quick"], source);
    equal(bench.made[0]?.depth, "full");
  }
});

Deno.test("RescanLoop.trigger() scans once more than collected when a full scan follows an event that has to settle", async () => {
  await using bench = new Bench({ collectMs: 1_000, settleMs: 200 });
  bench.loop.trigger(makeTrigger("link", "eth1 new", { depth: "full", urgency: "collect", settle: true }));
  await bench.pass(0);
  for (let n = 0; n < 50; n++) await bench.pass(100);
  deepEqual(bench.begun, ["quick", "quick", "full"]);
});

Deno.test("RescanLoop.trigger() makes the scan after a running one a full one when anything of what waits wants that", async () => {
  await using bench = new Bench();
  bench.loop.trigger(trigger("first"));
  bench.loop.trigger(makeTrigger("SIGHUP", "SIGHUP", { depth: "full" }));
  bench.loop.trigger(trigger("second"));
  await bench.finish();
  await bench.finish();
  deepEqual(bench.begun, ["quick", "full"]);
});

Deno.test("RescanLoop.trigger() scans a second time when link events have settled, since they can be ahead of the port", async () => {
  await using bench = new Bench({ settleMs: 200 });
  for (let n = 0; n < 5; n++) {
    bench.loop.trigger(linkEvent("eth1 down"));
    await bench.finish();
    await bench.pass(150);
  }
  equal(bench.begun.length, 5);
  await bench.pass(50);
  equal(bench.begun.length, 6);
  deepEqual(details(bench.made[5]), ["after link events"]);
  await bench.pass(10_000);
  equal(bench.begun.length, 6);
});

Deno.test("RescanLoop scans by itself every so often, and every tenth time at everything", async () => {
  await using bench = new Bench({ rescanMs: 30_000 });
  await bench.pass(29_999);
  equal(bench.begun.length, 0);
  await bench.pass(1);
  deepEqual(bench.made[0]?.triggers.map(({ source, depth }) => ({ source, depth })), [{
    source: "timer",
    depth: "quick",
  }]);
  for (let n = 1; n < 20; n++) await bench.pass(30_000);
  equal(bench.begun.length, 20);
  deepEqual(bench.begun.flatMap((depth, n) => depth === "full" ? [n + 1] : []), [10, 20]);
});

Deno.test("RescanLoop never scans by itself when the time between scans is 0", async () => {
  await using bench = new Bench({ rescanMs: 0 });
  await bench.pass(24 * 3_600_000);
  deepEqual(bench.begun, []);
});

Deno.test("RescanLoop.now() resolves with a scan that began after the call, not with the one under way", async () => {
  await using bench = new Bench();
  bench.loop.trigger(trigger("before"));
  let done = 0;
  const two = [1, 2].map((n) => bench.loop.now("allocate", `now ${n}`).then(() => done++));
  await bench.finish();
  equal(done, 0);
  equal(bench.begun.length, 2);
  while (done < 2 && bench.begun.length < 4) await bench.finish();
  await Promise.all(two);
  const [before, ...after] = bench.made;
  deepEqual(details(before), ["before"]);
  deepEqual(after.flatMap((scan) => details(scan)).toSorted(), ["now 1", "now 2"]);
});

Deno.test("RescanLoop.close() waits for the scan under way, keeps its result to itself, and nothing follows", async () => {
  await using bench = new Bench({ rescanMs: 1_000, collectMs: 500, settleMs: 200 });
  bench.loop.trigger(trigger("add", "full"));
  bench.loop.trigger(linkEvent("eth1 down"));
  let closed = false;
  const closing = bench.loop.close().then(() => closed = true);
  await turn();
  equal(closed, false);
  await bench.finish();
  await closing;
  bench.loop.trigger(trigger("late"));
  await bench.loop.now("allocate", "late");
  await bench.pass(100_000);
  deepEqual(bench.begun, ["quick"]);
  deepEqual(bench.made, []);
});

Deno.test("a scan that fails is reported, and the next trigger scans again", async () => {
  const troubles: unknown[] = [];
  let fails = true;
  const discovery = {
    scan: () => fails ? Promise.reject(new Error("odd host")) : Promise.resolve(snapshot()),
  } as Pick<Discovery, "scan"> as Discovery;
  const made: Scan[] = [];
  const loop = new RescanLoop({
    discovery,
    rescanMs: 0,
    onScan: (scan) => void made.push(scan),
    onError: (error) => void troubles.push(error),
  });
  await loop.now("test", "fails");
  equal(troubles.length, 1);
  fails = false;
  await loop.now("test", "works");
  equal(made.length, 1);
  await loop.close();
});
