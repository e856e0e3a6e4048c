/**
 * Whether link events reach this process. The kernel reports a link only in the network namespace that the link is in,
 * while sysfs shows the links of the namespace in which it was mounted: in a pod of its own the two are not the same.
 *
 * @module
 */
import { C, OFFSET, SIZE } from "../abi.ts";
import { readLine } from "../files.ts";
import type { Bytes, Libc } from "../libc.ts";
import { parseNumber } from "../parse.ts";
import type { Hca } from "../types.ts";
import type { EventSource, HostLink, WatchedPort } from "./trigger.ts";

/** Longest name of a link without its NUL: IFNAMSIZ - 1. */
const LONGEST_NAME = 15;

/**
 * The ports whose state is a matter of this plugin, with their links as the host has them. A port whose link is in a
 * pod's network namespace is the pod's.
 */
export function watchedPorts(hcas: readonly Hca[], sysfsRoot: string): readonly WatchedPort[] {
  const link = (name: string): HostLink => ({
    name,
    index: parseNumber(readLine(`${sysfsRoot}/class/net/${name}/ifindex`)),
    address: readLine(`${sysfsRoot}/class/net/${name}/address`),
  });
  return hcas.flatMap((hca) => hca.ports).filter((port) => !port.netdevAway)
    .map(({ linkLayer, netdevs }) => ({ linkLayer, links: netdevs.map(link) }));
}

/** Whether one of these sources reports every change of the state of the HCAs' ports. */
export function coveredBy(sources: readonly EventSource[], hcas: readonly Hca[], sysfsRoot: string): boolean {
  const able = sources.filter((source) => source.covers !== undefined);
  if (able.length === 0) return false;
  const ports = watchedPorts(hcas, sysfsRoot);
  return able.some((source) => source.covers!(ports));
}

/**
 * Whether link events tell of the port's state here. An Ethernet port follows its link; it is one of this network
 * namespace when name, index and hardware address are those of the host's. Of an InfiniBand port no event is certain:
 * its link, if it has one, says nothing while it is set down.
 *
 * @param fd any socket of this process
 */
export function isAnnounced({ linkLayer, links }: WatchedPort, libc: Libc, fd: number): boolean {
  return linkLayer === "Ethernet" && links.length > 0 && links.every(({ name, index, address }) => {
    const here = linkHere(libc, fd, name);
    return here !== null && here.index === index && here.address === address;
  });
}

/** A link of this network namespace; null when there is none of that name. */
export function linkHere(libc: Libc, fd: number, name: string): Omit<HostLink, "name"> | null {
  const bytes = new TextEncoder().encode(name);
  if (bytes.length > LONGEST_NAME) return null;
  const ask = (request: number): Bytes | null => {
    const ifreq: Bytes = new Uint8Array(new ArrayBuffer(SIZE.ifreq));
    ifreq.set(bytes, OFFSET.ifreq.ifr_name);
    return libc.ioctl(fd, request, ifreq) < 0 ? null : ifreq;
  };
  const index = ask(C.SIOCGIFINDEX);
  const address = ask(C.SIOCGIFHWADDR);
  if (index === null || address === null) return null;
  const { ifr_ifindex, ifr_hwaddr } = OFFSET.ifreq;
  return {
    index: new Int32Array(index.slice(ifr_ifindex, ifr_ifindex + 4).buffer)[0]!,
    // After the family of the address, two bytes; an Ethernet address has six.
    address: [...address.subarray(ifr_hwaddr + 2, ifr_hwaddr + 8)].map((n) => n.toString(16).padStart(2, "0")).join(
      ":",
    ),
  };
}
