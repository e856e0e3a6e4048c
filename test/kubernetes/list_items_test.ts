import { deepEqual, equal, throws } from "@std/assert";
import fc from "fast-check";
import { ItemSplitter } from "../../src/kubernetes/list_items.ts";

function split(text: string, sizes: readonly number[]): { items: unknown[]; around: unknown } {
  const items: unknown[] = [];
  const splitter = new ItemSplitter((item) => void items.push(JSON.parse(item)));
  const bytes = new TextEncoder().encode(text);
  for (let at = 0, i = 0; at < bytes.length; i++) {
    const size = sizes[i % sizes.length]!;
    splitter.push(bytes.subarray(at, at += size));
  }
  return { items, around: JSON.parse(splitter.around()) };
}

Deno.test("ItemSplitter takes a list apart, wherever its bytes are cut", () => {
  const item = fc.dictionary(fc.string({ unit: "binary" }), fc.jsonValue());
  const list = fc.record({
    metadata: fc.dictionary(fc.string(), fc.string()),
    items: fc.array(item, { maxLength: 6 }),
  });
  const sizes = fc.array(fc.integer({ min: 1, max: 40 }), { minLength: 1 });
  fc.assert(
    fc.property(list, sizes, fc.boolean(), ({ metadata, items }, cuts, last) => {
      const whole = last ? { kind: "List", metadata, items } : { kind: "List", items, metadata };
      const found = split(JSON.stringify(whole, null, last ? 1 : 0), cuts);
      deepEqual(found.items, JSON.parse(JSON.stringify(items)));
      deepEqual(found.around, JSON.parse(JSON.stringify({ ...whole, items: [] })));
    }),
    { numRuns: 50 },
  );
});

Deno.test("ItemSplitter takes a list without items, and one whose items are null", () => {
  for (const text of ['{"metadata":{},"items":[]}\n', '{"metadata":{},"items":null}']) {
    deepEqual(split(text, [3]).items, []);
    deepEqual(split(text, [3]).around, JSON.parse(text));
  }
});

Deno.test("ItemSplitter gives up on an item without an end", () => {
  const splitter = new ItemSplitter(() => {});
  splitter.push(new TextEncoder().encode('{"items":[{"a":"'));
  const chunk = new Uint8Array(4 * 1024 * 1024).fill(0x61);
  throws(() => {
    for (let i = 0; i < 9; i++) splitter.push(chunk);
  });
  equal(typeof splitter, "object");
});
