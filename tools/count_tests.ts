/**
 * Counts a JUnit report of `deno test --junit-path`: "N passed, N failed, N skipped".
 *
 * @module
 */
import { readFileSync } from "node:fs";
import process from "node:process";

/** Counts by what a test case's element holds. */
export function count(junit: string): { passed: number; failed: number; skipped: number } {
  let passed = 0, failed = 0, skipped = 0;
  for (const [, attributes, body = ""] of junit.matchAll(/<testcase ([^>]*?)(?:\/>|>([^]*?)<\/testcase>)/g)) {
    if (attributes === undefined) continue;
    if (/<(failure|error)\b/.test(body)) failed++;
    else if (/<skipped\b/.test(body)) skipped++;
    else passed++;
  }
  return { passed, failed, skipped };
}

if (import.meta.main) {
  const { passed, failed, skipped } = count(readFileSync(process.argv[2] ?? "", "utf8"));
  process.stdout.write(`${passed} passed, ${failed} failed${skipped > 0 ? `, ${skipped} skipped` : ""}\n`);
  if (passed + failed === 0) process.exit(1);
}
