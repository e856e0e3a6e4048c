import { deepEqual, equal } from "@std/assert";
import { mock } from "node:test";
import { RescanLoop, type Scan } from "../../src/agent/rescan_loop.ts";
import type { Discovery } from "../../src/hca/discover.ts";
import { type EventSource, trigger } from "../../src/hca/events/trigger.ts";
import { offered } from "../support/kubelet.ts";
import { snapshot } from "../support/hcas.ts";
import { QUICK_HEALTH, seen, world } from "../support/world.ts";
import { DEFAULT_SPEC } from "../../src/pool/spec.ts";

const SNAPSHOT = snapshot([]);

/** A loop on a clock of the test's own, with polls that are counted. */
class Bench implements AsyncDisposable {
  polls = 0;
  answer: string | null = null;
  live = false;
  readonly scans: Scan[] = [];
  readonly loop: RescanLoop;

  constructor(rescanMs = 30_000) {
    mock.timers.enable({ apis: ["setTimeout"] });
    this.loop = new RescanLoop({
      discovery: { scan: () => Promise.resolve({ ...SNAPSHOT }) } as Pick<Discovery, "scan"> as Discovery,
      rescanMs,
      onScan: (scan) => void this.scans.push(scan),
      poll: {
        poll: () => Promise.resolve((this.polls++, this.answer)),
        eventsLive: () => this.live,
      },
    });
  }

  /** Lets time pass in steps of 10 ms, and what follows from it happen. */
  async pass(ms: number): Promise<void> {
    for (let n = 0; n < ms / 10; n++) {
      mock.timers.tick(10);
      for (let turn = 0; turn < 20; turn++) await Promise.resolve();
    }
  }

  async scan(): Promise<void> {
    this.loop.trigger(trigger("test", "test"));
    await this.pass(0);
    for (let turn = 0; turn < 20; turn++) await Promise.resolve();
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.loop.close();
    mock.timers.reset();
  }
}

Deno.test("RescanLoop polls from the first scan on, never within 250 ms, and a quiet machine is not scanned for it", async () => {
  await using bench = new Bench();
  await bench.pass(2_000);
  equal(bench.polls, 0);
  await bench.scan();
  await bench.pass(240);
  equal(bench.polls, 0);
  await bench.pass(10);
  equal(bench.polls, 1);
  const before = bench.scans.length;
  await bench.pass(2_500);
  equal(bench.polls > 2 && bench.polls <= 11, true, `${bench.polls}`);
  equal(bench.scans.length, before);
});

Deno.test("RescanLoop scans at once when a poll finds something, and says what", async () => {
  await using bench = new Bench();
  await bench.scan();
  bench.answer = "mlx5_0 port 1 changed its state";
  await bench.pass(250);
  const [, found] = bench.scans;
  deepEqual(found?.triggers.map(({ source, detail, depth }) => ({ source, detail, depth })), [
    { source: "poll", detail: "mlx5_0 port 1 changed its state", depth: "quick" },
  ]);
});

Deno.test("RescanLoop does not poll while events tell of every port, nor with --rescan 0, nor when it is closed", async () => {
  for (const [rescanMs, live] of [[30_000, true], [0, false]] as const) {
    await using bench = new Bench(rescanMs);
    bench.live = live;
    await bench.scan();
    equal(bench.loop.pollMs, null);
    await bench.pass(5_000);
    equal(bench.polls, 0);
  }
  await using bench = new Bench();
  await bench.scan();
  equal(bench.loop.pollMs, 250);
  await bench.loop.close();
  await bench.pass(5_000);
  equal(bench.polls, 0);
});

Deno.test("RescanLoop stops its polls when the time between scans is set to never, and takes them up again", async () => {
  await using bench = new Bench();
  await bench.scan();
  bench.loop.setRescan(0);
  await bench.pass(2_000);
  equal(bench.polls, 0);
  bench.loop.setRescan(30_000);
  await bench.scan();
  await bench.pass(250);
  equal(bench.polls, 1);
});

Deno.test("a port that goes down without an event reaches the kubelet by a poll", async () => {
  const specs = [{ ...DEFAULT_SPEC, health: QUICK_HEALTH }];
  await using it = await world({ host: "connectx-ib-dual", specs, agent: { sources: [], rescanMs: 600_000 } });
  await offered(it.kubelet, 1);
  await it.host.carrierLost("mlx5_0", 1, { quiet: true });
  await offered(it.kubelet, 0);
  deepEqual(seen(it.kubelet), ["mlx5_0:Unhealthy"]);
  await it.host.portUp("mlx5_0", 1, { quiet: true });
  await offered(it.kubelet, 1);
});

Deno.test("an hour of a quiet machine's timer scans logs nothing", async () => {
  mock.timers.enable({ apis: ["setTimeout"] });
  try {
    let timerScans = 0;
    let scanned = () => {};
    // Without polls: a clock that jumps would end the patience for one under way.
    const covering: EventSource = { name: "test", covers: () => true, run: () => Promise.resolve() };
    await using it = await world({
      host: "connectx-roce-vfs",
      agent: { sources: [covering], rescanMs: 30_000 },
      observer: () => ({
        onScan: ({ triggers }) => {
          if (triggers.some((one) => one.source === "timer")) timerScans++;
          scanned();
        },
      }),
    });
    await offered(it.kubelet, 10);
    const before = it.log.length;
    for (let n = 1; n <= 120; n++) {
      const one = new Promise<void>((done) => scanned = () => timerScans === n && done());
      mock.timers.tick(30_000);
      await one;
    }
    equal(timerScans, 120);
    deepEqual(it.log.slice(before), []);
    equal(it.kubelet.state().resources[DEFAULT_SPEC.name]!.allocatable, 10);
  } finally {
    mock.timers.reset();
  }
});
