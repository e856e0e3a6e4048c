/**
 * Becomes another program, as `exec` of a shell does: a process that was started as Deno goes on under the same number as
 * something that was put around the plugin (`strace`, `unshare`, `prlimit`). Started by test/support/wrapped.ts.
 *
 * @module
 */
import process from "node:process";

/** Replaces this process; returns only when that was not possible. */
function exec(words: readonly string[]): void {
  const libc = Deno.dlopen("libc.so.6", { execvp: { parameters: ["buffer", "buffer"], result: "i32" } });
  const strings = words.map((word) => new TextEncoder().encode(`${word}\0`));
  const pointers = BigUint64Array.from([...strings.map((bytes) => address(bytes)), 0n]);
  libc.symbols.execvp(strings[0]!, pointers);
  libc.close();
}

function address(bytes: Uint8Array<ArrayBuffer>): bigint {
  return Deno.UnsafePointer.value(Deno.UnsafePointer.of(bytes));
}

const [words = "[]"] = process.argv.slice(2);
exec(JSON.parse(words) as string[]);
process.stderr.write(`Cannot run ${words}\n`);
process.exit(127);
