/**
 * Event source that watches a file: every change triggers a scan. The simulated host appends a line per hardware
 * change; a udev rule or hook script of an operator can do the same.
 *
 * @module
 */
import { closeSync, constants, fstatSync, openSync, readSync, statSync, watch } from "node:fs";
import { basename, dirname } from "node:path";
import { type EventSource, trigger } from "./trigger.ts";

/** Bytes read from the end of the file for the log. */
const TAIL = 256;

/** Emits a trigger for every change of the file, which may be missing at first, truncated, or replaced. */
export function fileSource(path: string): EventSource {
  return {
    name: path,
    covers: () => true, // the writer of the file reports every change
    run(emit, signal) {
      return new Promise<void>((resolve, reject) => {
        if (signal.aborted) return resolve();
        let known = "";
        const check = () => {
          const now = mark(path);
          if (now === known) return;
          known = now;
          emit(trigger("file", lastLine(path), { depth: "full", urgency: "collect" }));
        };
        try {
          // Watches the directory, not the file: replacing the file would end a watch on it.
          const watcher = watch(dirname(path), (_event, name) => {
            if (name === null || name === basename(path)) check();
          });
          watcher.on("error", (error) => {
            watcher.close();
            reject(
              new Error(`Cannot watch ${dirname(path)} for ${basename(path)}: ${error.message}`, { cause: error }),
            );
          });
          // Taken after the watch is in place, so that every later write differs from it.
          known = mark(path);
          signal.addEventListener("abort", () => {
            watcher.close();
            resolve();
          }, { once: true });
        } catch (error) {
          const { message } = error as Error;
          reject(new Error(`Cannot watch ${dirname(path)} for ${basename(path)}: ${message}`, { cause: error }));
        }
      });
    },
  };
}

/** Identifies the content of the file without reading it. */
function mark(path: string): string {
  try {
    const { ino, size, mtimeNs } = statSync(path, { bigint: true });
    return `${ino}:${size}:${mtimeNs}`;
  } catch {
    return "none";
  }
}

/** Reads only the end, because the file can grow without limit. Never blocks: opening a pipe without a writer would. */
function lastLine(path: string): string {
  let fd: number;
  try {
    fd = openSync(path, constants.O_RDONLY | constants.O_NONBLOCK);
  } catch {
    return "removed";
  }
  try {
    const status = fstatSync(fd);
    if (!status.isFile()) return "changed";
    const end = new Uint8Array(Math.min(status.size, TAIL));
    const length = readSync(fd, end, 0, end.byteLength, status.size - end.byteLength);
    const text = new TextDecoder().decode(end.subarray(0, length)).trimEnd();
    return text.slice(text.lastIndexOf("\n") + 1) || "changed";
  } finally {
    closeSync(fd);
  }
}
