/**
 * Lists in pages, as the real API server gives them: `limit`, and a `continue` token that is bound to a version of the
 * store and expires with it.
 *
 * @module
 */
import { type KubeObject, StoreError } from "./store.ts";

interface Token {
  readonly snapshot: number;
  /** The key after which the next page begins. */
  readonly after: string;
}

/** Snapshots that pages are cut from, while their tokens are good. */
export class Snapshots {
  readonly #lists = new Map<number, { readonly version: number; readonly items: readonly KubeObject[] }>();
  #last = 0;

  /** All tokens expire, as with etcd's compaction. */
  expire(): void {
    this.#lists.clear();
  }

  /**
   * One page of a list.
   *
   * @param unsorted the collection as it is now, filtered
   * @throws {StoreError} 410 for a token that has expired
   */
  page(unsorted: readonly KubeObject[], version: number, parameters: URLSearchParams): object {
    const items = unsorted.toSorted((a, b) => keyOf(a) < keyOf(b) ? -1 : 1);
    const limit = Number(parameters.get("limit") ?? 0);
    const given = parameters.get("continue");
    if (given === null && limit === 0) return { kind: "List", metadata: { resourceVersion: String(version) }, items };
    const token = given === null ? null : JSON.parse(atob(given)) as Token;
    const id = token?.snapshot ?? ++this.#last;
    if (token === null) this.#lists.set(id, { version, items });
    const snapshot = this.#lists.get(id);
    if (snapshot === undefined) {
      throw new StoreError(410, "Expired", "The provided continue parameter is too old to display a consistent list");
    }
    const rest = token === null ? items : snapshot.items.filter((one) => keyOf(one) > token.after);
    const page = rest.slice(0, limit || undefined);
    const more = page.length < rest.length;
    const next = more ? btoa(JSON.stringify({ snapshot: id, after: keyOf(page.at(-1)!) } satisfies Token)) : undefined;
    const metadata = {
      resourceVersion: String(snapshot.version),
      ...next === undefined ? {} : { continue: next, remainingItemCount: rest.length - page.length },
    };
    return { kind: "List", metadata, items: page };
  }
}

function keyOf({ metadata }: KubeObject): string {
  return `${String(metadata.namespace ?? "")}/${metadata.name}`;
}
