/**
 * SMI sub-devices: from ConnectX-8 XDR on, a function has a second RDMA device for management datagrams of its planes.
 * The kernel gives it umad and issm nodes but never a uverbs node, so pods cannot use it as an adapter.
 *
 * @module
 */
import type { Hca } from "./types.ts";

/** An HCA and its parent device. */
interface Carried {
  readonly hca: Hca;
  readonly carrier: { readonly dir: string | null };
}

/**
 * Marks each HCA without uverbs node when another HCA of the same function has one. The mark stays when the other HCA
 * loses its node, since a sub-device never becomes an adapter.
 */
export function markSubdevices<T extends Carried>(known: ReadonlyMap<string, T>): ReadonlyMap<string, T> {
  const served = new Map<string, string>();
  for (const { hca, carrier } of known.values()) {
    if (hca.uverbs !== null && carrier.dir !== null && hca.kind !== "virtual") served.set(carrier.dir, hca.name);
  }
  const marked = new Map<string, T>();
  for (const [name, one] of known) {
    const { hca, carrier } = one;
    const main = carrier.dir === null || hca.kind === "virtual" ? undefined : served.get(carrier.dir);
    const stays = hca.subdeviceOf !== null && known.has(hca.subdeviceOf) ? hca.subdeviceOf : null;
    const subdeviceOf = hca.uverbs !== null ? null : main ?? stays;
    marked.set(name, subdeviceOf === hca.subdeviceOf ? one : { ...one, hca: { ...hca, subdeviceOf } });
  }
  return marked;
}
