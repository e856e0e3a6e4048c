/**
 * Starts the guest under qemu, without any help of the processor: build machines have no KVM.
 *
 * @module
 */
import { spawn } from "node:child_process";
import { once } from "node:events";
import { closeSync, openSync, readFileSync } from "node:fs";
import { createInterface } from "node:readline";
import type { Kernel } from "./kernel.ts";

export interface Guest extends AsyncDisposable {
  /** What the guest writes to its second serial line, until it is switched off or the time is over. */
  readonly lines: AsyncIterable<string>;
  /** The end of what kernel, init and the programs wrote to the console. */
  consoleTail(lines: number): string;
}

/**
 * Boots the kernel with the archive as its only disk.
 *
 * @param console file that gets the console's output
 * @param limitMs milliseconds after which the guest is switched off by force
 */
export function boot(kernel: Kernel, initramfs: string, console: string, limitMs: number): Guest {
  const words = openSync(console, "w");
  const child = spawn("qemu-system-x86_64", [
    ...["-machine", "q35", "-accel", "tcg,thread=multi,tb-size=512", "-cpu", "max", "-smp", "2", "-m", "2048"],
    ...["-nodefaults", "-nic", "none", "-display", "none", "-no-reboot"],
    ...["-serial", `file:${console}`, "-serial", "stdio"],
    ...["-kernel", kernel.image, "-initrd", initramfs],
    // mitigations cost emulated time and protect nobody here; the hung task report would name who blocks a removal
    ...["-append", "console=ttyS0 quiet loglevel=4 panic=-1 mitigations=off tsc=reliable random.trust_cpu=on"],
  ], { stdio: ["ignore", "pipe", words] });
  closeSync(words);
  if (child.stdout === null) throw new Error("Cannot read what the guest reports: qemu has no standard output");
  const ended = once(child, "close");
  const limit = setTimeout(() => child.kill("SIGKILL"), limitMs);
  return {
    lines: createInterface({ input: child.stdout, crlfDelay: Infinity }),
    consoleTail: (lines) => readFileSync(console, "utf8").trimEnd().split(/\r?\n/).slice(-lines).join("\n"),
    async [Symbol.asyncDispose]() {
      clearTimeout(limit);
      child.kill("SIGKILL");
      await ended;
    },
  };
}
