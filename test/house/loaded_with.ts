/**
 * What is loaded with a module of this repository.
 *
 * @module
 */
import { execPath } from "node:process";
import { pathToFileURL } from "node:url";
import { ROOT } from "../support/root.ts";
import { run } from "../support/run.ts";

interface Info {
  readonly modules: readonly {
    readonly specifier: string;
    readonly dependencies?: readonly {
      readonly code?: { readonly specifier?: string };
      readonly isDynamic?: boolean;
    }[];
  }[];
}

/** By their paths from the root, without what is imported only when it is needed; packages by their names. */
export function loadedWith(path: string): readonly string[] {
  const root = pathToFileURL(ROOT).href;
  const { modules } = JSON.parse(run(execPath, ["info", "--json", path], { cwd: ROOT })) as Info;
  const byName = new Map(modules.map((one) => [one.specifier, one]));
  const seen = new Set<string>();
  const next = [`${root}${path}`];
  for (let one = next.pop(); one !== undefined; one = next.pop()) {
    if (seen.has(one)) continue;
    seen.add(one);
    for (const { code, isDynamic } of byName.get(one)?.dependencies ?? []) {
      if (code?.specifier !== undefined && isDynamic !== true) next.push(code.specifier);
    }
  }
  return [...seen].map((one) => one.replace(root, ""));
}
