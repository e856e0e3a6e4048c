/**
 * Labels through node-feature-discovery: a file in its directory of local features, which its worker turns into labels.
 *
 * The file says until when it holds (`# +expiry-time`), so that the labels go when the plugin does; it is therefore written
 * again from time to time. Its worker ignores files that begin with a point.
 *
 * @module
 */
import { renameSync, rmSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { time } from "../kubernetes/core_api.ts";
import type { Log } from "../text/log.ts";
import type { Labels } from "./labels.ts";

const NAME = "rdma-device-plugin";
/** How long the labels outlive the plugin. */
export const HOLDS_MS = 3_600_000;
const RENEW_MS = HOLDS_MS / 3;
/** After a failure. */
const AGAIN_MS = 60_000;

/** Content of the file. @param until milliseconds since the epoch */
export function featureText(labels: Labels, until: number): string {
  return [
    "# RDMA adapters of this node, written by rdma-device-plugin (docs/events-and-labels.md)",
    `# +expiry-time=${time(until)}`,
    ...Object.entries(labels).map(([key, value]) => `${key}=${value}`),
    "",
  ].join("\n");
}

export class FeatureFile {
  readonly #dir: string;
  readonly #log: Log;
  #labels: Labels | null = null;
  #timer: ReturnType<typeof setTimeout> | undefined;
  #failed = false;

  constructor(dir: string, log: Log) {
    this.#dir = dir;
    this.#log = log;
  }

  /** These labels hold; nothing is written when they are in the file already. */
  want(labels: Labels): void {
    if (this.#labels !== null && JSON.stringify(labels) === JSON.stringify(this.#labels)) return;
    this.#labels = labels;
    this.#write();
  }

  /** The file stays until its time is over: a successor writes the same. */
  close(): void {
    clearTimeout(this.#timer);
  }

  #write(): void {
    clearTimeout(this.#timer);
    const path = join(this.#dir, NAME);
    const temporary = join(this.#dir, `.${NAME}.new`);
    try {
      writeFileSync(temporary, featureText(this.#labels!, Date.now() + HOLDS_MS), { mode: 0o644 });
      renameSync(temporary, path);
      if (this.#failed) this.#log.info(`${path} is written again`);
      this.#failed = false;
    } catch (error) {
      tryRemove(temporary);
      if (!this.#failed) {
        this.#log.warn(
          `Cannot write ${path}: ${
            (error as Error).message
          }; the node's labels from it expire within an hour, pods are ` +
            "served as before. Mount node-feature-discovery's features.d writable, or name it with --nfd-features",
        );
      }
      this.#failed = true;
    }
    this.#timer = setTimeout(() => this.#write(), this.#failed ? AGAIN_MS : RENEW_MS);
  }
}

/** A file that cannot be written cannot be removed, either, as a rule. */
function tryRemove(path: string): void {
  try {
    rmSync(path, { force: true });
  } catch {
    // The worker ignores it, and the next write replaces it.
  }
}
