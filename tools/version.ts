/**
 * `deno task version [X.Y.Z]`: sets the plugin's version in deno.json, where it is kept, and in every file that has to
 * repeat it. Without an argument it only repeats. The version of Deno is kept in .dvmrc and repeated in the same way:
 * edit that file and run the task. A test holds the copies against their sources.
 *
 * @module
 */
import { readFileSync, writeFileSync } from "node:fs";
import process from "node:process";

const ROOT = new URL("../", import.meta.url);
const SOURCE = ["deno.json", /("version": ")[^"]+/] as const;

/** Files that repeat a version: what stands before it, and the version. */
export type Copies = readonly (readonly [file: string, place: RegExp])[];

const PLUGIN: Copies = [
  ["src/cli/version.ts", /(VERSION = ")[^"]+/],
  ["Dockerfile", /(ARG VERSION=)\S+/],
  ["rdma-device-plugin.yml", /(image: rdma-device-plugin:)\S+/],
  ["deploy/kustomize/base/daemonset.yaml", /(image: rdma-device-plugin:)\S+/],
  ["deploy/helm/rdma-device-plugin/Chart.yaml", /(\nversion: )\S+/],
  ["deploy/helm/rdma-device-plugin/Chart.yaml", /(\nappVersion: )\S+/],
  ["README.md", /(`rdma-device-plugin:)\d[^`]*/],
  ["docs/install.md", /(registry\.example\.com\/rdma-device-plugin:)\d\S*/g],
];

const DENO: Copies = [
  ["README.md", /(npx -y deno@)\d+\.\d+\.\d+/g],
  ["README.md", /(With Deno )\d+\.\d+\.\d+/],
  ["Dockerfile", /(ARG DENO=denoland\/deno:bin-)\d+\.\d+\.\d+/],
  ["docs/images.md", /(\| Deno )\d+\.\d+\.\d+/g],
  ["src/doctor/check_runtime.ts", /(TESTED_DENO = ")[^"]+/],
];

/** The version of the plugin, from deno.json. */
export function version(): string {
  return (JSON.parse(readFileSync(new URL(SOURCE[0], ROOT), "utf8")) as { version: string }).version;
}

/** The version of Deno that everything here is run and tested with, from .dvmrc. */
export function denoVersion(): string {
  return readFileSync(new URL(".dvmrc", ROOT), "utf8").trim();
}

/** Every copy with the version that it should have. */
export function copies(): readonly (readonly [file: string, place: RegExp, wanted: string])[] {
  const of = (all: Copies, wanted: string) => all.map(([file, place]) => [file, place, wanted] as const);
  return [...of(PLUGIN, version()), ...of(DENO, denoVersion())];
}

/** A file as it is, and with that version in its place. @throws when it has no such place */
export function withVersion(file: string, place: RegExp, wanted: string): { is: string; should: string } {
  const is = readFileSync(new URL(file, ROOT), "utf8");
  if (is.search(place) < 0) throw new Error(`${file} has no version at ${place}`);
  return { is, should: is.replace(place, `$1${wanted}`) };
}

if (import.meta.main) {
  const [wanted = version()] = process.argv.slice(2);
  if (!/^\d+\.\d+\.\d+(-[\w.]+)?$/.test(wanted)) throw new Error(`${wanted} is no version: X.Y.Z`);
  writeFileSync(new URL(SOURCE[0], ROOT), withVersion(...SOURCE, wanted).should);
  for (const [file, place, to] of copies()) writeFileSync(new URL(file, ROOT), withVersion(file, place, to).should);
}
