/**
 * Noticing that the kubelet came, went, or wiped its directory: inotify, with a poll behind it for the event that
 * never comes (a limit reached, a directory that was replaced, a network file system).
 *
 * @module
 */
import { type FSWatcher, lstatSync, watch } from "node:fs";

/** How often the directory is looked at when inotify works, in milliseconds. Each time wakes an idle process. */
export const POLL_MS = 10_000;
/** … and when it does not. */
const POLL_WITHOUT_INOTIFY_MS = 1_000;

/**
 * Calls `poke` whenever something in a directory changed, and every {@link POLL_MS} anyway, until `signal` aborts.
 *
 * @param onProblem told once, in a sentence, when inotify cannot be had; the poll is then every second
 */
export function watchDirectory(
  dir: string,
  poke: () => void,
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
    // A watch belongs to an inode: a directory that was removed and made again needs a new one.
    const now = inode(dir);
    if (now === watched && watcher !== null) return;
    stop();
    if (now === null) return;
    try {
      watcher = watch(dir, { persistent: true }, happened);
      // An inotify limit is told here, after a watch() that seemed to succeed.
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
    // An event that was on its way when the watch was closed is told all the same.
    if (signal.aborted) return;
    // It may have been the directory itself that went, and another may be there already.
    const before = watched;
    start();
    if (watched !== before) schedule();
    poke();
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
    poke();
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
 * What tells a directory from the next one of that name, which may well get the same inode. Its ctime changes with every
 * file in it and says nothing.
 */
function inode(dir: string): string | null {
  try {
    const { dev, ino, birthtimeMs } = lstatSync(dir);
    return `${dev}:${ino}:${birthtimeMs}`;
  } catch {
    return null;
  }
}
