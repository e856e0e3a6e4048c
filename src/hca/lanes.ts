/**
 * Several pieces of work, a few at a time.
 *
 * @module
 */

/** Ports of one HCA, which can have hundreds: one for each representor. If its firmware hangs, threads must stay free. */
export const PORTS_AT_ONCE = 4;

/** The results in the order of the items. Rejects with the first error; what has begun then goes on, nothing more does. */
export async function inLanes<T, R>(
  items: readonly T[],
  lanes: number,
  work: (item: T) => Promise<R>,
): Promise<readonly R[]> {
  if (items.length <= lanes) return await Promise.all(items.map(work));
  const results: R[] = [];
  let next = 0;
  let failed = false;
  const lane = async () => {
    while (next < items.length && !failed) {
      const i = next++;
      try {
        results[i] = await work(items[i]!);
      } catch (error) {
        failed = true;
        throw error;
      }
    }
  };
  await Promise.all(Array.from({ length: lanes }, lane));
  return results;
}
