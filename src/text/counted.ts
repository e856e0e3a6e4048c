/** @module */

/** "1 device", "2 devices". @param noun in the singular; its plural ends with an s */
export function counted(n: number, noun: string): string {
  return `${n} ${noun}${n === 1 ? "" : "s"}`;
}
