/**
 * Discovery on a fake host.
 *
 * @module
 */
import { Discovery, type DiscoverySources } from "../../src/hca/discover.ts";
import { noVerbs } from "../../src/hca/verbs.ts";

/** Reads the host's trees and, unless the test says otherwise, nothing else. */
export function discoveryOn(
  host: { readonly sysfsRoot: string; readonly devRoot: string },
  over: Partial<DiscoverySources> = {},
): Discovery {
  const roots = { sysfs: host.sysfsRoot, dev: host.devRoot };
  const verbs = noVerbs({ kind: "not-asked", detail: "test" });
  return new Discovery({ roots, verbs, netnsMode: () => "shared", ...over });
}
