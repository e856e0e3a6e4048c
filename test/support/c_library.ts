/**
 * Small C libraries that tests load, or put before the C library of a process. Needs gcc: `needs("gcc")`.
 *
 * @module
 */
import { writeFileSync } from "node:fs";
import { join } from "node:path";
import { run } from "./run.ts";

/** Compiles a shared library in a directory of the test's own; gives its path. */
export function compileLibrary(dir: string, name: string, source: string): string {
  const [file, library] = [join(dir, `${name}.c`), join(dir, `lib${name}.so`)];
  writeFileSync(file, source);
  const strict = ["-Wall", "-Werror", "-Wno-unused"];
  run("gcc", ["-shared", "-fPIC", "-O1", ...strict, "-o", library, file, "-ldl"]);
  return library;
}

/** The words before a command that put the library before the C library of that process, with these variables. */
export function preloaded(library: string, env: Readonly<Record<string, string>>): readonly string[] {
  return ["env", `LD_PRELOAD=${library}`, ...Object.entries(env).map(([name, value]) => `${name}=${value}`)];
}
