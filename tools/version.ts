/**
 * `deno task version [X.Y.Z]`: sets the plugin's version in deno.json, where it is kept, and in every file that has to
 * repeat it. Without an argument it only repeats. A test holds the copies against deno.json.
 *
 * @module
 */
import { readFileSync, writeFileSync } from "node:fs";
import process from "node:process";

const ROOT = new URL("../", import.meta.url);
const SOURCE = ["deno.json", /("version": ")[^"]+/] as const;

/** Files that repeat the version: what stands before it, and the version. */
export const COPIES: readonly (readonly [file: string, place: RegExp])[] = [
  ["src/cli/version.ts", /(VERSION = ")[^"]+/],
  ["Dockerfile", /(ARG VERSION=)\S+/],
  ["rdma-device-plugin.yml", /(image: rdma-device-plugin:)\S+/],
  ["deploy/kustomize/base/daemonset.yaml", /(image: rdma-device-plugin:)\S+/],
  ["deploy/helm/rdma-device-plugin/Chart.yaml", /(\nversion: )\S+/],
  ["deploy/helm/rdma-device-plugin/Chart.yaml", /(\nappVersion: )\S+/],
  ["README.md", /(`rdma-device-plugin:)\d[^`]*/],
  ["docs/install.md", /(registry\.example\.com\/rdma-device-plugin:)\d\S*/g],
];

/** The version in deno.json. */
export function version(): string {
  return (JSON.parse(readFileSync(new URL(SOURCE[0], ROOT), "utf8")) as { version: string }).version;
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
  for (const [file, place] of [SOURCE, ...COPIES]) {
    writeFileSync(new URL(file, ROOT), withVersion(file, place, wanted).should);
  }
}
