/**
 * Counts JUnit reports of `deno test --junit-path`: "N passed, N failed, N skipped".
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
  const counts = process.argv.slice(2).map((file) => count(readFileSync(file, "utf8")));
  const sum = (of: "passed" | "failed" | "skipped") => counts.reduce((total, one) => total + one[of], 0);
  const skipped = sum("skipped");
  process.stdout.write(
    `${sum("passed")} passed, ${sum("failed")} failed${skipped > 0 ? `, ${skipped} skipped` : ""}\n`,
  );
  if (sum("passed") + sum("failed") === 0) process.exit(1);
}
