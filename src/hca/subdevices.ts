/**
 * SMI sub-devices: from ConnectX-8 XDR on, one function carries a second RDMA device for management datagrams of its
 * planes. The kernel gives it umad and issm nodes and never a uverbs node, so it is no adapter that a pod could use.
 *
 * @module
 */
import type { Hca } from "./types.ts";

/** An HCA and the device that carries it. */
interface Carried {
  readonly hca: Hca;
  readonly carrier: { readonly dir: string | null };
}

/**
 * Says of each HCA without uverbs node whether another one of the same function has one. Once said it stays so: when the
 * other one's node goes, this one has not become an adapter.
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
