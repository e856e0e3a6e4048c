/**
 * Takes the answer of a list apart while it arrives: each object by itself, so that neither the text nor the objects of a
 * page are ever held as a whole.
 *
 * @module
 */
const [QUOTE, BACKSLASH, OPEN, CLOSE, OPEN_ARRAY, CLOSE_ARRAY] = [0x22, 0x5c, 0x7b, 0x7d, 0x5b, 0x5d] as const;
/** No object of the API is so large: etcd takes a megabyte and a half. */
const LONGEST_ITEM = 32 * 1024 * 1024;
const FIRST_CAPACITY = 256 * 1024;

/** Splits one answer: bytes in, the texts of its items out; what is around them is left at the end. */
export class ItemSplitter {
  readonly #onItem: (text: string) => void;
  readonly #decoder = new TextDecoder();
  /** What belongs to nothing that is complete yet. */
  #bytes = new Uint8Array(FIRST_CAPACITY);
  #length = 0;
  #at = 0;
  #depth = 0;
  #inString = false;
  /** Between the brackets of the list's array. */
  #inItems = false;
  #around = "";

  /** @param onItem called with the JSON of each item, in their order */
  constructor(onItem: (text: string) => void) {
    this.#onItem = onItem;
  }

  /** The next bytes. @throws when an item has no end */
  push(chunk: Uint8Array): void {
    this.#append(chunk);
    // In locals, which is what makes the loop fast.
    const bytes = this.#bytes;
    const end = this.#length;
    let at = this.#at;
    let depth = this.#depth;
    let inString = this.#inString;
    let from = 0;
    while (at < end) {
      if (inString) {
        // Most bytes of an object are in strings.
        let byte = 0;
        while (at < end && (byte = bytes[at]!) !== QUOTE && byte !== BACKSLASH) at++;
        if (at >= end) break;
        // What is escaped may come with the next bytes.
        at += byte === BACKSLASH ? 2 : 1;
        inString = byte === BACKSLASH;
        continue;
      }
      const byte = bytes[at++]!;
      if (byte === QUOTE) inString = true;
      else if (byte === OPEN || byte === OPEN_ARRAY) {
        depth++;
        if (byte === OPEN_ARRAY && depth === 2) {
          // An array of the list itself is its items.
          this.#around += this.#text(from, at);
          this.#inItems = true;
        } else if (this.#inItems && depth === 3) from = at - 1;
      } else if (byte === CLOSE || byte === CLOSE_ARRAY) {
        depth--;
        if (!this.#inItems) continue;
        if (depth === 2) this.#onItem(this.#text(from, at));
        else if (depth === 1) {
          this.#inItems = false;
          from = at - 1;
        }
      }
    }
    // Between two items there is a comma.
    if (this.#inItems && depth === 2) from = end;
    this.#at = at - from;
    this.#depth = depth;
    this.#inString = inString;
    bytes.copyWithin(0, from, end);
    this.#length = end - from;
  }

  /** The answer without its items. */
  around(): string {
    return this.#around + this.#text(0, this.#length);
  }

  #append(chunk: Uint8Array): void {
    const needed = this.#length + chunk.length;
    if (needed > LONGEST_ITEM) throw new Error("an object of the list has no end");
    if (needed > this.#bytes.length) {
      const larger = new Uint8Array(Math.max(needed, this.#bytes.length * 2));
      larger.set(this.#bytes.subarray(0, this.#length));
      this.#bytes = larger;
    }
    this.#bytes.set(chunk, this.#length);
    this.#length = needed;
  }

  #text(from: number, to: number): string {
    return this.#decoder.decode(this.#bytes.subarray(from, to));
  }
}
