import { deepEqual, equal } from "@std/assert";
import { mkdirSync, renameSync, rmSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { mock } from "node:test";
import { POLL_MS, watchDirectory } from "../../src/kubelet/directory_watch.ts";
import { temporaryDir } from "../support/temp.ts";

/** The real clock, for giving up. */
const { setTimeout: later, clearTimeout: never } = globalThis;

/** A watched directory whose polls come only when the test lets time pass. */
class Watched implements Disposable {
  readonly #parent = temporaryDir();
  readonly dir = join(this.#parent.path, "device-plugins");
  readonly problems: string[] = [];
  readonly #abort = new AbortController();
  #told = 0;
  #wake = () => {};

  constructor() {
    mkdirSync(this.dir);
    mock.timers.enable({ apis: ["setTimeout"] });
    const changed = () => {
      this.#told++;
      this.#wake();
    };
    watchDirectory(this.dir, changed, this.#abort.signal, (sentence) => this.problems.push(sentence));
  }

  /** Lets so many milliseconds pass; gives how often something was told meanwhile. */
  pass(ms: number): number {
    const before = this.#told;
    mock.timers.tick(ms);
    return this.#told - before;
  }

  /** Does something and waits until the watch tells of a change, while no time passes. */
  async event(act: () => void): Promise<void> {
    let timer: ReturnType<typeof setTimeout> | undefined;
    const told = new Promise<void>((resolve, reject) => {
      this.#wake = resolve;
      timer = later(() => reject(new Error("no event came")), 60_000);
    });
    act();
    await told.finally(() => never(timer));
  }

  [Symbol.dispose](): void {
    this.#abort.abort();
    mock.timers.reset();
    this.#parent[Symbol.dispose]();
  }
}

Deno.test("watchDirectory() tells of a file by event, and polls every ten seconds", async () => {
  using watched = new Watched();
  equal(watched.pass(POLL_MS - 1), 0);
  equal(watched.pass(1), 1);
  await watched.event(() => writeFileSync(join(watched.dir, "kubelet.sock"), ""));
  deepEqual(watched.problems, []);
});

for (
  const [what, go] of [
    ["removed", (dir: string) => rmSync(dir, { recursive: true })],
    ["renamed", (dir: string) => renameSync(dir, `${dir}.old`)],
  ] as const
) {
  Deno.test(`watchDirectory() polls every second while the directory is ${what}, and watches the new one`, async () => {
    using watched = new Watched();
    await watched.event(() => go(watched.dir));
    equal(watched.pass(1_000), 1);
    mkdirSync(watched.dir);
    equal(watched.pass(1_000), 1);
    await watched.event(() => writeFileSync(join(watched.dir, "kubelet.sock"), ""));
    deepEqual(watched.problems, []);
  });
}
