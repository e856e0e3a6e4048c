/**
 * The last known state of each link, used to ignore messages that change nothing.
 *
 * The kernel sends "new link" and "new address" messages for statistics, promiscuous mode, wireless events and
 * refreshed IPv6 lifetimes, too. On a node that starts many pods these are most of the traffic.
 *
 * @module
 */
import { C } from "../abi.ts";
import type { AddressMessage, LinkMessage } from "./netlink_parse.ts";
import type { Depth } from "./trigger.ts";

/** A change that requires a scan. */
export interface Change {
  readonly depth: Depth;
  /** For people: "eth1 down". */
  readonly detail: string;
}

/** The IFF_* bits that affect whether a link works. The others (promiscuous, multicast, …) do not matter to RDMA. */
const STATE_FLAGS = C.IFF_UP | C.IFF_RUNNING | C.IFF_LOWER_UP;

/** The last known state of every link that sent a message, and the announced addresses. */
export class LinkTable {
  readonly #ignore: (name: string) => boolean;
  readonly #links = new Map<number, LinkMessage>();
  readonly #addresses = new Map<number, Set<string>>();

  /** @param ignore links whose changes are recorded but never reported */
  constructor(ignore: (name: string) => boolean = () => false) {
    this.#ignore = ignore;
  }

  /**
   * Records one message and returns the change it makes; `null` when nothing changed.
   *
   * The table starts empty. The first message about a link therefore always counts as a change that needs a full scan,
   * since the state before it is not known. This costs at most one extra scan per link.
   */
  note(message: LinkMessage | AddressMessage): Change | null {
    const before = this.#links.get(message.index);
    const change = "flags" in message ? this.#noteLink(message, before) : this.#noteAddress(message, before);
    const name = this.#links.get(message.index)?.name ?? before?.name;
    const ignored = name !== undefined && this.#ignore(name) && (before === undefined || this.#ignore(before.name));
    return ignored ? null : change;
  }

  /** Forgets all links; called when messages were lost. */
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

/** The state of a link in one or two words. */
function condition(link: LinkMessage): string {
  if ((link.flags & C.IFF_UP) === 0) return "down";
  if (link.carrier === false || (link.flags & C.IFF_LOWER_UP) === 0) return "without carrier";
  // Some drivers (loopback, tunnels) only ever report "unknown", which counts as up.
  if (link.operstate === C.IF_OPER_UP || link.operstate === C.IF_OPER_UNKNOWN) return "up";
  return "coming up";
}
