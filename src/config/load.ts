/**
 * Reads a config file from disk.
 *
 * @module
 */
import { readFile, stat } from "node:fs/promises";
import { LARGEST } from "./document.ts";
import type { MistakeCode } from "./mistake_codes.ts";
import type { Mistake } from "./mistakes.ts";
import { parseConfig } from "./parse.ts";
import type { ConfigOptions, ConfigResult } from "./parse.ts";

/** Reads and parses the file. A file that cannot be read is reported as a mistake, not thrown. */
export async function loadConfig(path: string, options: ConfigOptions = {}): Promise<ConfigResult> {
  const text = await readText(path);
  return typeof text === "string" ? parseConfig(text, path, options) : { ok: false, mistakes: [text] };
}

/** The text, or the reason why it cannot be read. */
async function readText(path: string): Promise<string | Mistake> {
  const mistake = (message: string, code: MistakeCode = "unreadable-file", hint: string | null = null): Mistake => (
    { file: path, line: 0, column: 0, path: "", code, message, hint }
  );
  try {
    // Checked before opening: opening a FIFO would block until it has a writer.
    const info = await stat(path);
    const instead = "give the path of a YAML or JSON file";
    if (info.isDirectory()) return mistake("is a directory", "unreadable-file", instead);
    if (!info.isFile()) return mistake("is not a regular file", "unreadable-file", instead);
    if (info.size > LARGEST) {
      return mistake(`has ${info.size} bytes, more than ${LARGEST}`, "too-large", "this is not a config file");
    }
    return new TextDecoder("utf-8", { fatal: true, ignoreBOM: true }).decode(await readFile(path));
  } catch (error) {
    if (error instanceof TypeError) return mistake("is not UTF-8 text");
    return mistake(unreadable(error));
  }
}

function unreadable(error: unknown): string {
  const code = error instanceof Error && "code" in error ? String(error.code) : "";
  switch (code) {
    case "ENOENT":
      return "the file does not exist";
    case "EACCES":
    case "EPERM":
      return "cannot be read by this user: permission denied";
    case "ENOTDIR":
      return "the file does not exist: a part of the path is not a directory";
    default:
      return `cannot be read: ${error instanceof Error ? error.message : String(error)}`;
  }
}
