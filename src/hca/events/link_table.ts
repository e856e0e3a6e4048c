/**
 * What the last messages said about each link, so that a message that changes nothing costs nothing.
 *
 * The kernel repeats itself: statistics, promiscuous mode, wireless events and refreshed IPv6 lifetimes all come as
 * "new" links and addresses, and on a node that starts pods all the time that is most of the traffic.
 *
 * @module
 */
import { C } from "../abi.ts";
import type { AddressMessage, LinkMessage } from "./netlink_parse.ts";
import type { Depth } from "./trigger.ts";

/** A change that is worth a scan. */
export interface Change {
  readonly depth: Depth;
  /** For people: "eth1 down". */
  readonly detail: string;
}

/** The IFF_* bits that say whether a link works. The others (promiscuous, multicast, …) do not matter to RDMA. */
const STATE_FLAGS = C.IFF_UP | C.IFF_RUNNING | C.IFF_LOWER_UP;

/** The last known state of every link that has spoken, and the addresses that were announced. */
export class LinkTable {
  readonly #ignore: (name: string) => boolean;
  readonly #links = new Map<number, LinkMessage>();
  readonly #addresses = new Map<number, Set<string>>();

  /** @param ignore links whose changes are noted but never reported */
  constructor(ignore: (name: string) => boolean = () => false) {
    this.#ignore = ignore;
  }

  /**
   * Notes one message and says what changed with it; `null` when nothing did.
   *
   * The table starts empty and learns as it goes. The first word about a link is therefore always a change, and a deep
   * one, since no one knows what it was before: one scan too many in the life of a link, never one too few.
   */
  note(message: LinkMessage | AddressMessage): Change | null {
    const before = this.#links.get(message.index);
    const change = "flags" in message ? this.#noteLink(message, before) : this.#noteAddress(message, before);
    const name = this.#links.get(message.index)?.name ?? before?.name;
    const ignored = name !== undefined && this.#ignore(name) && (before === undefined || this.#ignore(before.name));
    return ignored ? null : change;
  }

  /** Forgets everything, as is due when messages were lost. */
  forget(): void {
    this.#links.clear();
    this.#addresses.clear();
  }

  #noteLink(now: LinkMessage, before: LinkMessage | undefined): Change | null {
    if (now.kind === "link-gone") {
      this.#links.delete(now.index);
      this.#addresses.delete(now.index);
      return { depth: "full", detail: `${now.name} gone` };
    }
    this.#links.set(now.index, now);
    if (before === undefined) {
      return { depth: "full", detail: now.isNew ? `${now.name} new` : `${now.name} ${condition(now)}` };
    }
    if (now.name !== before.name) return { depth: "full", detail: `${before.name} renamed to ${now.name}` };
    if (now.master !== before.master) return { depth: "full", detail: `${now.name} changed its master` };
    if (now.address !== before.address) return { depth: "full", detail: `${now.name} changed its hardware address` };
    const same = (now.flags & STATE_FLAGS) === (before.flags & STATE_FLAGS) &&
      now.operstate === before.operstate && now.carrier === before.carrier;
    return same ? null : { depth: "quick", detail: `${now.name} ${condition(now)}` };
  }

  #noteAddress(message: AddressMessage, link: LinkMessage | undefined): Change | null {
    const name = link?.name ?? `link ${message.index}`;
    const known = this.#addresses.get(message.index) ?? new Set<string>();
    if (message.kind === "address-gone") {
      known.delete(message.address);
      if (known.size === 0) this.#addresses.delete(message.index);
      return { depth: "full", detail: `${name} lost ${message.address}` };
    }
    if (known.has(message.address)) return null;
    this.#addresses.set(message.index, known.add(message.address));
    return { depth: "full", detail: `${name} got ${message.address}` };
  }
}

/** One word or two for the state of a link. */
function condition(link: LinkMessage): string {
  if ((link.flags & C.IFF_UP) === 0) return "down";
  if (link.carrier === false || (link.flags & C.IFF_LOWER_UP) === 0) return "without carrier";
  // Some drivers (loopback, tunnels) never say more than "unknown", which stands for "as up as it gets".
  if (link.operstate === C.IF_OPER_UP || link.operstate === C.IF_OPER_UNKNOWN) return "up";
  return "coming up";
}
