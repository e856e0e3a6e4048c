/**
 * The real plugin on real RDMA: soft-RoCE in Debian's own kernel, booted under emulation. Everything is real below the
 * fake kubelet: the driver, sysfs, /dev/infiniband, netlink, libibverbs. What is shown is in `checks.ts`.
 *
 * A machine of its own for half a minute is more than the other tests ask for, so it is run by its own task.
 *
 * @module
 */
import { equal } from "@std/assert";
import { mkdirSync, mkdtempSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import process from "node:process";
import { needs } from "../support/need.ts";
import { boot } from "./boot.ts";
import { type Check, CHECKS } from "./checks.ts";
import { buildInitramfs } from "./initramfs.ts";
import { debianKernel } from "./kernel.ts";
import { type Outcome, readOutcome } from "./report.ts";

/** A minute is what it takes when two processors are free for it; on busy ones it was twice that. Milliseconds. */
const LIMIT = 300_000;

const asked = process.env.RXE === "1";
if (!asked) process.stderr.write("skipping: soft-RoCE in a kernel of its own is run by `deno task test:rxe`\n");

if (asked) {
  Deno.test({
    name: "the plugin keeps its promises on soft-RoCE in Debian's kernel",
    ...needs("qemu"),
    async fn(t) {
      const work = mkdtempSync(join(tmpdir(), "rxe-"));
      try {
        const initramfs = join(work, "initramfs.cpio");
        const kernel = timed("kernel", () => debianKernel());
        mkdirSync(join(work, "tree"));
        timed("initramfs", () => buildInitramfs(kernel, join(work, "tree"), initramfs));
        const begun = performance.now();
        {
          await using guest = boot(kernel, initramfs, join(work, "console.log"), LIMIT);
          const outcomes = read(guest.lines);
          for (const check of CHECKS) {
            const { value } = await outcomes.next();
            await t.step(check.name, () => judge(check, value ?? null, () => guest.consoleTail(40)));
          }
          equal((await outcomes.next()).done, true, "the guest made more checks than were asked for");
        }
        say(`Linux ${kernel.release} from boot to power-off: ${seconds(performance.now() - begun)}`);
      } finally {
        rmSync(work, { recursive: true });
      }
    },
  });
}

async function* read(lines: AsyncIterable<string>): AsyncGenerator<Outcome, null> {
  for await (const line of lines) {
    const outcome = readOutcome(line);
    if (outcome !== null) yield outcome;
  }
  return null;
}

/** Says what a check measured; fails as it failed inside. */
function judge(check: Check, outcome: Outcome | null, console: () => string): void {
  if (outcome === null) throw new Error(`the guest was off before this check was made; its console:\n${console()}`);
  equal(outcome.check, check.name);
  for (const note of outcome.notes) say(note);
  if (outcome.skipped !== null) say(`not shown: ${outcome.skipped}`);
  if (outcome.error !== null) throw new Error(`${outcome.error}\nthe guest's console:\n${console()}`);
  say(`${seconds(outcome.milliseconds)}`);
}

function timed<T>(what: string, work: () => T): T {
  const begun = performance.now();
  const result = work();
  say(`${what}: ${seconds(performance.now() - begun)}`);
  return result;
}

function seconds(milliseconds: number): string {
  return `${(milliseconds / 1e3).toFixed(1)} s`;
}

function say(sentence: string): void {
  process.stderr.write(`    ${sentence.replaceAll("\n", "\n      ")}\n`);
}
