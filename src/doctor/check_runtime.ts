/**
 * Check of the runtime.
 *
 * @module
 */
import type { Facts } from "./facts.ts";
import { type Finding, ok, unchecked, warning } from "./finding.ts";

/** The version of Deno that is tested, equal to .dvmrc (a test compares). */
export const TESTED_DENO = "2.9.6";

/** The first version that frees the memory of a connection when it ends. */
const FREES = [2, 9, 4] as const;

/** Whether a version, "2.9.3", comes before {@link FREES}. */
function keepsConnections(version: string): boolean {
  const parts = version.split(".").map(Number);
  const at = FREES.findIndex((part, index) => parts[index] !== part);
  return at >= 0 && parts[at]! < FREES[at]!;
}

/** `facts.runtime` is a name and a version: "Deno 2.9.6", "Node.js 20.19.0". */
export function runtime({ runtime }: Pick<Facts, "runtime">): readonly Finding[] {
  const [name, version = ""] = runtime.split(" ");
  if (name !== "Deno") {
    return [ok("runtime", `${runtime}: no events from the kernel, no libibverbs; changes are found by scans`)];
  }
  if (version === TESTED_DENO) return [ok("runtime", "Deno is of the version that the tests run on")];
  if (!keepsConnections(version)) return [unchecked("runtime", `${runtime}; the tests run on Deno ${TESTED_DENO}`)];
  return [warning(
    "runtime",
    `Deno ${version} never frees the memory of a connection`,
    "every connection to the plugin's socket, its own probe of it once a minute included, costs 30 KiB forever, and a " +
      "kubelet that does not read costs a copy of each list",
    `run the plugin with Deno ${TESTED_DENO}`,
  )];
}
