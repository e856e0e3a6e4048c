/**
 * Writes the output of a command to standard output, completely.
 *
 * @module
 */
import { writeSync } from "node:fs";

/** @returns false when the reader has closed the pipe (`list | head`), which is not an error */
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
