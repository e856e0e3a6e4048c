import { equal } from "@std/assert";
import { readFile } from "node:fs/promises";
import { mock } from "node:test";
import { startDeadline } from "../../src/hca/deadline.ts";

/** Keeps the event loop from running, as a node without a free processor does. Milliseconds. */
function stall(ms: number): void {
  Atomics.wait(new Int32Array(new SharedArrayBuffer(4)), 0, 0, ms);
}

Deno.test("startDeadline() passes after its time, and not before", async () => {
  mock.timers.enable({ apis: ["setTimeout"] });
  try {
    using deadline = startDeadline(2_000);
    let passed = false;
    void deadline.passed.then(() => passed = true);
    mock.timers.tick(1_999);
    await Promise.resolve();
    equal(passed, false);
    mock.timers.tick(1);
    equal(await deadline.passed, null);
  } finally {
    mock.timers.reset();
  }
});

Deno.test("startDeadline() does not pass before an answer that came while the process could not run", async () => {
  using deadline = startDeadline(200);
  const answer = readFile(new URL(import.meta.url), "utf8").then(() => "answered");
  stall(400);
  equal(await Promise.race([deadline.passed, answer]), "answered");
});

Deno.test("startDeadline() leaves no timer behind when it is disposed of", () => {
  startDeadline(3_600_000)[Symbol.dispose]();
});
