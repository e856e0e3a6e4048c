/**
 * Watches the kubelet's directory for restarts of the kubelet: inotify, with a poll for cases without events (an
 * inotify limit, a replaced directory, a network file system).
 *
 * @module
 */
import { type FSWatcher, lstatSync, watch } from "node:fs";

/** Poll interval while inotify works, in milliseconds. Each poll wakes an idle process. */
export const POLL_MS = 10_000;
/** Poll interval when inotify does not work, in milliseconds. */
const POLL_WITHOUT_INOTIFY_MS = 1_000;

/**
 * Calls `changed` when something in a directory changed, and at least every {@link POLL_MS}, until `signal` aborts.
 *
 * @param onProblem called once, with a sentence, when inotify is not available; the poll is then every second
 */
export function watchDirectory(
  dir: string,
  changed: () => void,
  signal: AbortSignal,
  onProblem: (sentence: string) => void,
): void {
  let watcher: FSWatcher | null = null;
  let watched: string | null = null;
  let complained = false;
  let timer: ReturnType<typeof setTimeout> | undefined;

  const stop = () => {
    watcher?.close();
    watcher = null;
    watched = null;
  };
  const start = () => {
    // A watch belongs to an inode: a directory that was removed and created again needs a new one.
    const now = inode(dir);
    if (now === watched && watcher !== null) return;
    stop();
    if (now === null) return;
    try {
      watcher = watch(dir, { persistent: true }, happened);
      // An inotify limit is reported here, after watch() seemed to succeed.
      watcher.on("error", (error) => {
        pollInstead(error);
        if (!signal.aborted) schedule();
      });
      watched = now;
    } catch (error) {
      pollInstead(error as Error);
    }
  };
  const happened = () => {
    // An event that was pending when the watch was closed is still delivered.
    if (signal.aborted) return;
    // The directory itself may have been removed, and may already exist again.
    const before = watched;
    start();
    if (watched !== before) schedule();
    changed();
  };
  const pollInstead = ({ message }: Error) => {
    stop();
    if (!complained) onProblem(`Cannot watch ${dir} (${message}); it is polled every second instead`);
    complained = true;
  };
  const schedule = () => {
    clearTimeout(timer);
    timer = setTimeout(tick, watcher === null ? POLL_WITHOUT_INOTIFY_MS : POLL_MS);
  };
  const tick = () => {
    start();
    changed();
    schedule();
  };
  if (signal.aborted) return;
  signal.addEventListener("abort", () => {
    clearTimeout(timer);
    stop();
  }, { once: true });
  tick();
}

/**
 * Identifies a directory, which may get the same inode when it is created again. Its ctime is not used, because it
 * changes with every file in it.
 */
function inode(dir: string): string | null {
  try {
    const { dev, ino, birthtimeMs } = lstatSync(dir);
    return `${dev}:${ino}:${birthtimeMs}`;
  } catch {
    return null;
  }
}
