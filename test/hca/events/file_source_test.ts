import { deepEqual, equal, rejects } from "@std/assert";
import { appendFileSync, mkdirSync, renameSync, rmSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { fileSource } from "../../../src/hca/events/file_source.ts";
import type { Trigger } from "../../../src/hca/events/trigger.ts";
import { temporaryDir, within } from "../../support/temp.ts";

/** Runs the source while a test writes; ends it afterwards and waits for that. */
async function watching(path: string, body: (next: (detail: string) => Promise<Trigger>) => Promise<void>) {
  const abort = new AbortController();
  const seen: Trigger[] = [];
  let arrived = () => {};
  const running = fileSource(path).run((trigger) => {
    seen.push(trigger);
    arrived();
  }, abort.signal);
  const next = (detail: string) => {
    const found = (resolve: (trigger: Trigger) => void) => {
      arrived = () => {
        const trigger = seen.find((trigger) => trigger.detail === detail);
        if (trigger !== undefined) resolve(trigger);
      };
      arrived();
    };
    return within(new Promise<Trigger>(found), `a trigger "${detail}" among ${JSON.stringify(seen)}`);
  };
  try {
    await Promise.race([body(next), running.then(() => Promise.reject(new Error("the source ended early")))]);
  } finally {
    abort.abort();
    await running;
  }
}

Deno.test("fileSource() emits a full scan with the last line when the file grows", async () => {
  using dir = temporaryDir();
  const file = join(dir.path, "events");
  writeFileSync(file, "before\n");
  await watching(file, async (next) => {
    appendFileSync(file, "one\ntwo\n");
    const { source, depth, urgency } = await next("two");
    deepEqual({ source, depth, urgency }, { source: "file", depth: "full", urgency: "collect" });
    appendFileSync(file, "three"); // `echo -n` will do
    await next("three");
  });
});

Deno.test("fileSource() misses nothing that is written as soon as it runs", async () => {
  using dir = temporaryDir();
  const file = join(dir.path, "events");
  writeFileSync(file, "");
  for (let round = 0; round < 20; round++) {
    await watching(file, async (next) => {
      appendFileSync(file, `round ${round}\n`); // in the same turn of the event loop
      await next(`round ${round}`);
    });
  }
});

Deno.test("fileSource() goes on when the file is missing at first, truncated, replaced, removed and made again", async () => {
  using dir = temporaryDir();
  const file = join(dir.path, "events");
  await watching(file, async (next) => {
    writeFileSync(file, "made\n");
    await next("made");
    writeFileSync(file, "cut\n");
    await next("cut");
    writeFileSync(`${file}.new`, "put in place\n");
    renameSync(`${file}.new`, file);
    await next("put in place");
    rmSync(file);
    await next("removed");
    writeFileSync(file, "made again\n");
    await next("made again");
  });
});

Deno.test("fileSource() emits nothing for other files of the directory", async () => {
  using dir = temporaryDir();
  const file = join(dir.path, "events");
  const seen: string[] = [];
  const abort = new AbortController();
  const { promise, resolve } = Promise.withResolvers<void>();
  const running = fileSource(file).run(({ detail }) => {
    seen.push(detail);
    resolve();
  }, abort.signal);
  writeFileSync(join(dir.path, "events.new"), "not this\n");
  writeFileSync(file, "this\n");
  await within(promise, "the file's own trigger");
  abort.abort();
  await running;
  deepEqual([...new Set(seen)], ["this"]);
});

Deno.test("fileSource() finds the last line of a long file", async () => {
  using dir = temporaryDir();
  const file = join(dir.path, "events");
  writeFileSync(file, "a line that was there\n".repeat(10_000));
  await watching(file, async (next) => {
    appendFileSync(file, "mlx5_0 port 1 DOWN\n");
    await next("mlx5_0 port 1 DOWN");
  });
});

Deno.test("fileSource() rejects with the directory's name when that does not exist", async () => {
  using dir = temporaryDir();
  const run = fileSource(join(dir.path, "nowhere/events")).run(() => {}, new AbortController().signal);
  await rejects(within(run, "rejection"), /nowhere.*events/s);
});

Deno.test("fileSource() ends at once when it was aborted before it started", async () => {
  using dir = temporaryDir();
  mkdirSync(join(dir.path, "events"));
  await within(fileSource(join(dir.path, "events")).run(() => {}, AbortSignal.abort()), "end");
  equal(fileSource("x").name.length > 0, true);
});
