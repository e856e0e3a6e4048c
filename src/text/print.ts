/**
 * Writing a command's answer to standard output, all of it, whoever reads.
 *
 * @module
 */
import { writeSync } from "node:fs";

/** @returns false when nobody reads any more (`list | head`), which is no fault of the command's */
export function print(text: string): boolean {
  let bytes = new TextEncoder().encode(text);
  try {
    while (bytes.length > 0) bytes = bytes.subarray(writeSync(1, bytes));
    return true;
  } catch (error) {
    if ((error as { code?: string }).code === "EPIPE") return false;
    throw error;
  }
}
