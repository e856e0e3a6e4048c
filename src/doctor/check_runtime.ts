/**
 * Check of the runtime.
 *
 * @module
 */
import type { Facts } from "./facts.ts";
import { type Finding, ok, unchecked, warning } from "./finding.ts";

/** The version of Deno that is tested, equal to .dvmrc (a test compares). */
export const TESTED_DENO = "2.9.6";

/** Versions whose HTTP/2 server aborts the process when a client disconnects in a certain way. */
const ABORTING = ["2.9.4", "2.9.5", "2.9.6"];

/** `facts.runtime` is a name and a version: "Deno 2.9.6", "Node.js 20.19.0". */
export function runtime({ runtime }: Pick<Facts, "runtime">): readonly Finding[] {
  const [name, version = ""] = runtime.split(" ");
  if (name !== "Deno") {
    return [ok("runtime", `${runtime}: no events from the kernel, no libibverbs; changes are found by scans`)];
  }
  if (version === TESTED_DENO) return [ok("runtime", "Deno is of the version that the tests run on")];
  if (!ABORTING.includes(version)) return [unchecked("runtime", `${runtime}; the tests run on Deno ${TESTED_DENO}`)];
  return [warning(
    "runtime",
    `Deno ${version} can be aborted by any client of the plugin's socket`,
    "its HTTP/2 server aborts the process when a client cancels a stream and disconnects at the wrong moment " +
      "(denoland/deno#36788); the plugin's resources are unavailable until it is restarted",
    `run the plugin with Deno ${TESTED_DENO}`,
  )];
}
