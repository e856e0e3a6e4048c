/**
 * Events by a file: whoever changes it makes the plugin scan. The simulator's host appends a line per change of its
 * hardware; an operator's udev rule or hook script may do the same.
 *
 * @module
 */
import { closeSync, constants, fstatSync, openSync, readSync, statSync, watch } from "node:fs";
import { basename, dirname } from "node:path";
import { type EventSource, trigger } from "./trigger.ts";

/** What of the file's end is read for the log. Bytes. */
const TAIL = 256;

/** Emits a trigger for every change of the file, which may be missing at first, truncated, or replaced. */
export function fileSource(path: string): EventSource {
  return {
    name: path,
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
          // The directory is watched, not the file: a file that is replaced takes its watch with it.
          const watcher = watch(dirname(path), (_event, name) => {
            if (name === null || name === basename(path)) check();
          });
          watcher.on("error", (error) => {
            watcher.close();
            reject(
              new Error(`Cannot watch ${dirname(path)} for ${basename(path)}: ${error.message}`, { cause: error }),
            );
          });
          // Marked only now that the watch is in place: what is written from here on differs from it.
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

/** What tells one content of the file from the next without reading it. */
function mark(path: string): string {
  try {
    const { ino, size, mtimeNs } = statSync(path, { bigint: true });
    return `${ino}:${size}:${mtimeNs}`;
  } catch {
    return "none";
  }
}

/** Reads the end only, since no one may ever cut the file, and never waits: a pipe without a writer would stop the process. */
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
