/**
 * Where directories with unix sockets in them are made for a while.
 *
 * @module
 */
import { accessSync, constants } from "node:fs";
import { tmpdir } from "node:os";

/**
 * Bytes. The path of a unix socket has at most 107 on Linux (`sun_path`, unix(7)) and 103 on macOS; the longest names of
 * kubelets and plugins below a temporary directory take some 75.
 */
const LONGEST_PARENT = 28;

/** Deno's permissions keep these from every program that has not all of them, such as the plugin as the image has it. */
const CLOSED = /^\/(dev|proc|sys)(\/|$)/;

/**
 * The system's temporary directory; /tmp where its path ($TMPDIR) is too long for sockets below it, or below /dev.
 *
 * @throws {Error} that says what to set, when /tmp cannot be written either
 */
export function socketParent(wanted: string = tmpdir(), short = "/tmp"): string {
  if (new TextEncoder().encode(wanted).length <= LONGEST_PARENT && !CLOSED.test(wanted)) return wanted;
  try {
    accessSync(short, constants.W_OK);
    return short;
  } catch (cause) {
    const message =
      `Cannot make unix sockets below ${wanted}, which is longer than ${LONGEST_PARENT} bytes or one of ` +
      `the kernel's trees, nor below ${short}, which cannot be written; set TMPDIR to a directory with a shorter path`;
    throw new Error(message, { cause });
  }
}
