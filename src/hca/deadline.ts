/**
 * Deadlines for what may hang: firmware, a driver, a library.
 *
 * @module
 */

/** Parts of a deadline. */
const PARTS = 10;

export interface Deadline extends Disposable {
  /** Resolves when the time is over; never after disposal. */
  readonly passed: Promise<null>;
}

/**
 * Starts a deadline of so many milliseconds in which this process could run. Time in which it could not, because the
 * node was busy or it was stopped, counts for a tenth at most: answers that came meanwhile are still to be delivered, and
 * an adapter must not be said to hang because of the node's load.
 */
export function startDeadline(ms: number): Deadline {
  const { promise: passed, resolve } = Promise.withResolvers<null>();
  let timer: ReturnType<typeof setTimeout> | undefined;
  const wait = (parts: number) => {
    if (parts === 0) resolve(null);
    else timer = setTimeout(() => wait(parts - 1), ms / PARTS);
  };
  wait(PARTS);
  return { passed, [Symbol.dispose]: () => clearTimeout(timer) };
}
