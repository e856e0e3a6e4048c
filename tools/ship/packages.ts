/**
 * The npm packages whose code is in the bundle, found by looking at the bundle and not at a list of dependencies: what the
 * bundler left out needs no notice.
 *
 * @module
 */
import { existsSync, readdirSync, readFileSync } from "node:fs";
import { join } from "node:path";
import { execPath } from "node:process";
import { ROOT } from "../../test/support/root.ts";
import { run } from "../../test/support/run.ts";

export interface BundledPackage {
  readonly name: string;
  readonly version: string;
  /** SPDX expression that the package declares. */
  readonly licence: string;
  /** The licence's text as the package ships it; null when it ships none. */
  readonly text: string | null;
  /** As in deno.lock: "sha512-…". */
  readonly integrity: string | null;
}

const TEXT_FILE = /^(licen[cs]e|copying)(\.(md|txt))?$/i;

/** All packages of the bundle, by name. @throws with the bundler's own words */
export function bundledPackages(): readonly BundledPackage[] {
  const cache = npmCache();
  const flags = ["--quiet", "--frozen", "--platform", "deno"];
  const text = run(execPath, ["bundle", ...flags, "src/cli/program.ts"], { cwd: ROOT });
  // The bundler writes the path of each module above it.
  const paths = text.matchAll(/\/npm\/([^/\s]+\/((?:@[^/\s]+\/)?[^/\s]+)\/(\d[^/\s]*))\//g);
  const found = new Map([...paths].map(([, path = "", name = "", version = ""]) => [path, { name, version }]));
  return [...found].map(([path, { name, version }]) => describe(join(cache, path), name, version))
    .toSorted((a, b) => a.name.localeCompare(b.name, "en"));
}

function describe(directory: string, name: string, version: string): BundledPackage {
  const manifest = JSON.parse(readFileSync(join(directory, "package.json"), "utf8")) as Record<string, unknown>;
  const file = readdirSync(directory).find((entry) => TEXT_FILE.test(entry));
  const lock = JSON.parse(readFileSync(join(ROOT, "deno.lock"), "utf8")) as {
    npm: Record<string, { integrity?: string }>;
  };
  return {
    name,
    version,
    licence: typeof manifest.license === "string" ? manifest.license : "UNKNOWN",
    text: file === undefined ? null : readFileSync(join(directory, file), "utf8").trim(),
    integrity: lock.npm[`${name}@${version}`]?.integrity ?? null,
  };
}

function npmCache(): string {
  const { npmCache } = JSON.parse(run(execPath, ["info", "--json"], { cwd: ROOT })) as { npmCache: string };
  if (!existsSync(npmCache)) throw new Error(`There is no npm cache at ${npmCache}; run deno install`);
  return npmCache;
}
