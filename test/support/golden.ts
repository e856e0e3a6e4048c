/**
 * Golden files: what a test printed, kept in the repository. `UPDATE_GOLDEN=1` writes them again.
 *
 * @module
 */
import { mkdirSync, readFileSync, writeFileSync } from "node:fs";
import { dirname } from "node:path";
import process from "node:process";
import { fileURLToPath } from "node:url";
import { equal } from "@std/assert";

/** Compares with test/golden/NAME. */
export function golden(name: string, text: string): void {
  goldenFile(`test/golden/${name}`, text);
}

/** Compares with a file of the repository. */
export function goldenFile(file: string, text: string): void {
  const path = fileURLToPath(new URL(`../../${file}`, import.meta.url));
  if (process.env.UPDATE_GOLDEN === "1") {
    mkdirSync(dirname(path), { recursive: true });
    writeFileSync(path, text);
  }
  equal(text, readFileSync(path, "utf8"), `${file} is out of date: UPDATE_GOLDEN=1 writes it`);
}
