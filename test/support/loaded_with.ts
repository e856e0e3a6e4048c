/**
 * What is loaded with a module of this repository.
 *
 * @module
 */
import { ok } from "@std/assert";
import { spawnSync } from "node:child_process";
import { execPath } from "node:process";
import { fileURLToPath } from "node:url";

/** Where the repository is. */
export const ROOT = new URL("../../", import.meta.url);

interface Info {
  readonly modules: readonly {
    readonly specifier: string;
    readonly dependencies?: readonly {
      readonly code?: { readonly specifier?: string };
      readonly isDynamic?: boolean;
    }[];
  }[];
}

/** By its path from the root, without what it imports only when it gets there. */
export function loadedWith(path: string): ReadonlySet<string> {
  const start = new URL(path, ROOT);
  const { stdout, stderr, status } = spawnSync(execPath, ["info", "--json", fileURLToPath(start)], {
    encoding: "utf8",
  });
  ok(status === 0, stderr);
  const byName = new Map((JSON.parse(stdout) as Info).modules.map((one) => [one.specifier, one]));
  const seen = new Set<string>();
  const next = [start.href];
  for (let one = next.pop(); one !== undefined; one = next.pop()) {
    if (seen.has(one)) continue;
    seen.add(one);
    for (const { code, isDynamic } of byName.get(one)?.dependencies ?? []) {
      if (code?.specifier !== undefined && isDynamic !== true) next.push(code.specifier);
    }
  }
  return seen;
}
