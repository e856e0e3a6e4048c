/**
 * Net devices of HCAs whose port is down: the remedy depends on whether the administrator set them down.
 *
 * @module
 */
import { join } from "node:path";
import type { Inventory } from "../agent/inventory.ts";
import { readLine } from "../hca/files.ts";
import { parseNumber } from "../hca/parse.ts";

/** `IFF_UP` of <linux/if.h>: set by the administrator, independent of the cable. */
const IFF_UP = 1;

/** State of a net device; null where it has none. */
export interface Link {
  readonly up: boolean | null;
}

/** By name, only for HCAs of unhealthy devices. */
export function readLinks(sysfsRoot: string, { states }: Inventory): ReadonlyMap<string, Link> {
  const unhealthy = [...states.values()].flatMap(({ deviceStates }) => [...deviceStates.values()])
    .filter((one) => !one.healthy).flatMap((one) => one.member.hcas);
  const names = new Set(unhealthy.flatMap((hca) => hca.netdevs));
  return new Map([...names].map((name) => {
    const flags = parseNumber(readLine(join(sysfsRoot, "class/net", name, "flags")));
    return [name, { up: flags === null ? null : (flags & IFF_UP) !== 0 }];
  }));
}
